"""The formats there are, by name."""

from curate.export.coco import Coco
from curate.export.croissant import Croissant
from curate.export.imagefolder import ImageFolder
from curate.export.interface import Format
from curate.export.parquet import Parquet
from curate.export.table import Csv
from curate.export.webdataset import WebDataset

FORMATS: dict[str, Format] = {
    layout.name: layout for layout in (ImageFolder(), Csv(), Coco(), Parquet(), WebDataset(), Croissant())
}
