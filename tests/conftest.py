"""What all tests share."""

from hypothesis import settings

# A loaded machine makes single examples slow; what is slow by itself shows in the time of the whole suite.
settings.register_profile("pinflow", deadline=None)
settings.load_profile("pinflow")
