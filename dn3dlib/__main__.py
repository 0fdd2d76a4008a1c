"""`python -m dn3dlib` is `dn3d`."""

import sys

from dn3dlib.cli import main

sys.exit(main())
