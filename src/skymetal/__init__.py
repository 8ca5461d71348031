"""skymetal: gas-phase metallicities, 12+log(O/H), from a sky survey's galaxy images.

The package is four folders, and imports point one way: ``deploy → train → engine → catalogs``.
"""

__version__ = "0.1.0"
