"""The languages of three corpora, as these write their codes."""

FLEURS = """
af_za am_et ar_eg as_in ast_es az_az be_by bg_bg bn_in bs_ba ca_es ceb_ph ckb_iq cmn_hans_cn
cs_cz cy_gb da_dk de_de el_gr en_us es_419 et_ee fa_ir ff_sn fi_fi fil_ph fr_fr ga_ie gl_es
gu_in ha_ng he_il hi_in hr_hr hu_hu hy_am id_id ig_ng is_is it_it ja_jp jv_id ka_ge kam_ke
kea_cv kk_kz km_kh kn_in ko_kr ky_kg lb_lu lg_ug ln_cd lo_la lt_lt luo_ke lv_lv mi_nz mk_mk
ml_in mn_mn mr_in ms_my mt_mt my_mm nb_no ne_np nl_nl nso_za ny_mw oc_fr om_et or_in pa_in
pl_pl ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se sw_ke ta_in te_in
tg_tj th_th tr_tr uk_ua umb_ao ur_pk uz_uz vi_vn wo_sn xh_za yo_ng yue_hant_hk zu_za
""".split()  # noqa: SIM905

VOXLINGUA107 = """
ab af am ar as az ba be bg bn bo br bs ca ceb cs cy da de el en eo es et eu fa fi fo fr gl gn
gu gv ha haw hi hr ht hu hy ia id is it iw ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml
mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sco sd si sk sl sn so sq sr su sv sw ta te
tg th tk tl tr tt uk ur uz vi war yi yo zh
""".split()  # noqa: SIM905

COMMONVOICE = """
ab af am ar as ast az ba bas be bg bn br bxr ca ckb cnh cs cv cy da dag dav de dsb dv dyu el en eo
es et eu fa fi fr fy-NL ga-IE gl gn ha he hi hsb ht hu hy-AM ia id ig is it ja ka kab kk kln kmr ko
ky lg lij lo lt ltg luo lv mdf mhr mk ml mn mr mrj mt myv nan-tw ne-NP nhi nl nn-NO nso oc or os
pa-IN pl ps pt quy rm-sursilv rm-vallader ro ru rw sah sat sc sk skr sl sq sr st sv-SE sw ta te th
ti tig tk tn tok tr ts tt tw ug uk ur uz ve vi vot xh yi yo yue zgh zh-CN zh-HK zh-TW zu zza
""".split()  # noqa: SIM905

#: Of these, constructed ones, which have no family.
ARTIFICIAL = {"eo", "ia"}
