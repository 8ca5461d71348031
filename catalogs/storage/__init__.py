"""The one seam to storage: whole files or none, and a first writer that wins, on a disk or in a bucket.

Every file skymetal writes passes through a :class:`Folder`. A reader sees a file whole or not at all; of two
writers of one receipt the first wins; what is written is safe before anybody is told.
"""

from skymetal.catalogs.storage.folder import FileStamp as FileStamp
from skymetal.catalogs.storage.folder import Folder as Folder
from skymetal.catalogs.storage.folder import Location as Location
from skymetal.catalogs.storage.folder import commit_receipt as commit_receipt
from skymetal.catalogs.storage.folder import digest as digest
from skymetal.catalogs.storage.local import BUILDING_PREFIX as BUILDING_PREFIX
from skymetal.catalogs.storage.local import TEMPORARY_PREFIX as TEMPORARY_PREFIX
from skymetal.catalogs.storage.local import LocalFolder as LocalFolder
from skymetal.catalogs.storage.local import file_digest as file_digest
from skymetal.catalogs.storage.objects import ObjectFolder as ObjectFolder
from skymetal.catalogs.storage.opening import is_url as is_url
from skymetal.catalogs.storage.opening import local_path as local_path
from skymetal.catalogs.storage.opening import open_file as open_file
from skymetal.catalogs.storage.opening import open_folder as open_folder
