"""ppcore: what the papers of this suite share. It knows no paper by name.

Importing this package does not import Paddle, so that `ppcore.runtime` can set thread
variables before Paddle reads them.
"""

__version__ = "0.1.0"
