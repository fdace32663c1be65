"""The formats there are, by name."""

from curate.export.imagefolder import ImageFolder
from curate.export.interface import Format
from curate.export.table import Csv

FORMATS: dict[str, Format] = {layout.name: layout for layout in (ImageFolder(), Csv())}
