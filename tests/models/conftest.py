"""Small models of these tests are in modules beside them."""

import sys
from pathlib import Path

# Under --import-mode=importlib a test folder is not importable by itself.
sys.path.insert(0, str(Path(__file__).parent))
