from .compress import CompressOptions as CompressOptions
from .compress import compress_run as compress_run
from .inspect import inspect_run as inspect_run
from .load import load_run as load_run
from .load import open_run as open_run
from .sweep import sweep_run as sweep_run
