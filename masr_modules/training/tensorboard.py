"""SpeechBrain's TensorBoard logger, which training can do without."""

from speechbrain.utils import train_logger
from speechbrain.utils.distributed import main_process_only

from masr_modules.config.extras import MissingExtraError, extra, skip_without_extra


class TensorboardLogger(train_logger.TensorboardLogger):
    """Logs for TensorBoard where it is installed; else the log says once what to install.

    `writer` is None without it, and on all ranks but the first.

    Arguments
    ---------
    save_dir : str
        Folder of its files.

    Example
    -------
    >>> logger = TensorboardLogger(getfixture("tmp_path"))
    >>> logger.log_stats({"epoch": 1}, train_stats={"loss": 0.5})
    >>> len(list(getfixture("tmp_path").glob("events*")))
    1
    """

    def __init__(self, save_dir: str):
        self.missing: MissingExtraError | None = None
        try:
            with extra("report"):
                super().__init__(save_dir)
        except MissingExtraError as error:
            self.writer, self.missing = None, error

    @main_process_only
    def log_stats(self, *args, **kwargs) -> None:
        """Logs statistics; takes what SpeechBrain's loggers take."""
        with skip_without_extra("TensorBoard"):  # here, for a run has its log file by now
            if self.missing:
                raise self.missing
            super().log_stats(*args, **kwargs)
