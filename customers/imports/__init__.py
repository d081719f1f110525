"""Import a CSV file of any size: read as a stream, resumable, bad rows put beside the file. Knows no app's columns.

csv_stream.py   lines → rows, whatever is in the file
rejects.py      FILE.rejected.csv
jobs.py         chunks, how far it has come, once more for what is down
display.py      the arguments, progress and summary that import commands share
"""

from customers.imports.csv_stream import Columns, CsvRow, CsvStream, ImportFileError
from customers.imports.jobs import ImportStoppedError, Progress, Summary, Taken, run_import

__all__ = [
    "Columns", "CsvRow", "CsvStream", "ImportFileError", "ImportStoppedError", "Progress", "Summary", "Taken",
    "run_import",
]  # fmt: skip
