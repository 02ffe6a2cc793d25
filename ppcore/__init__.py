"""ppcore: what the papers of this suite share. It knows no paper by name.

Importing this package does not import Paddle, so that `ppcore.runtime` can set thread
variables before Paddle reads them.
"""

# Paddle 2.6.2 brings a zlib of its own: unless Python's is loaded first, gzip and PNG crash after it.
import zlib  # noqa: F401

from ppcore.runtime import use_fast_mkl

__version__ = "0.1.0"

use_fast_mkl()
