from dn3dlib.quiet import quiet_when_imported

quiet_when_imported("tensorflow")  # `runs` and `compare` read plain files and do not wait for it
