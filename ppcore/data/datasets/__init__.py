"""Data sets; `ppcore.data` names the public ones."""
