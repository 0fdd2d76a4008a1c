from dn3dlib.quiet import import_quietly

import_quietly("keras")
