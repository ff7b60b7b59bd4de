"""A logger for TensorBoard, which training can do without."""

from speechbrain.utils import train_logger
from speechbrain.utils.distributed import main_process_only

from masr_modules.config.extras import MissingExtraError, extra, skip_without_extra


class TensorboardLogger(train_logger.TensorboardLogger):
    """SpeechBrain's logger for TensorBoard; without TensorBoard, one warning says what to install.

    `writer` is None if TensorBoard is not installed, and on all ranks but the first.

    Arguments
    ---------
    save_dir : str
        The folder for its files.

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
        # The warning is given here because the run's log file exists only by now.
        with skip_without_extra("TensorBoard"):
            if self.missing:
                raise self.missing
            super().log_stats(*args, **kwargs)
