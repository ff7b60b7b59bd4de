# Commands that need it first make a virtual environment in .venv, once.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
RUN := $(VENV)/bin/python
SEEDS ?= 1234
SSL ?= best_rq
KILLS ?= 20
CKPT ?= results/pretrain/masr/1234

.PHONY: install pretrain compare tables downstream debian docs test test-fast soak clean \
	lint ruff format codespell yamllint mypy

install: $(INSTALLED)

pretrain: $(INSTALLED)
	$(RUN) recipes/pretrain/train.py hparams/masr.yaml

compare: $(INSTALLED)
	$(RUN) recipes/study/run.py --ssl $(SSL) --seeds $(SEEDS)

# Every table and picture of the studies and of the tasks, from what is recorded.
tables: $(INSTALLED)
	$(RUN) recipes/study/tables.py

downstream: $(INSTALLED)
	$(RUN) recipes/downstream/compare.py --encoders MASR=$(CKPT)

# People's recordings: three systems pretrained, then their encoders and the untrained one compared.
debian: $(INSTALLED)
	$(RUN) recipes/study/run.py --corpus debian --systems "SSL only" LASR MASR \
		--seeds $(SEEDS) --jobs 2
	$(RUN) recipes/downstream/compare.py --corpus debian --modes frozen --seeds $(SEEDS) --jobs 2 \
		--encoders @results/compare_debian/encoders.txt --record recipes/downstream/runs.csv
	$(RUN) recipes/study/tables.py

# The documents and an API reference as a site; a broken link or docstring is an error.
docs: $(INSTALLED)
	$(VENV)/bin/mkdocs build --strict

# Two processes, files whole: fixtures are made once per file.
test: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist loadfile

test-fast: $(INSTALLED)
	$(RUN) -m pytest -n 2 --dist loadfile -m "not slow"

# Does a small training harm again and again; the weights must come out the same.
soak: $(INSTALLED)
	$(RUN) -m benchmarks.soak --kills $(KILLS)

# Each part is a hook of .pre-commit-config.yaml too.
lint: ruff format codespell yamllint mypy

ruff: $(INSTALLED)
	$(VENV)/bin/ruff check .

format: $(INSTALLED)
	$(VENV)/bin/ruff format --check .

codespell: $(INSTALLED)
	$(VENV)/bin/codespell

yamllint: $(INSTALLED)
	$(VENV)/bin/yamllint --strict .

mypy: $(INSTALLED)
	$(VENV)/bin/mypy

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --disable-pip-version-check -r requirements.txt
	touch $@

clean:
	rm -rf $(VENV) results data site
