"""`fastdata report`: what a dataset is like, as one page, or as JSON."""

from pathlib import Path

from fastdata.commands.as_json import as_json
from fastdata.commands.outcome import check_out
from fastdata.commands.progress import bar
from fastdata.commands.report.looks import Looks
from fastdata.commands.report.source import Source, open_source
from fastdata.commands.report.survey import Survey, spread_numbers, survey
from fastdata.files import whole_file


def write_report(what: str, out: Path, samples: int) -> Survey:
    """Writes the page on so many samples, or on all with 0.

    Raises what datasets raise, and OSError where it can't be written: where its folder is missing, or it is
    one itself, before all is read.
    """
    from fastdata.commands.report.page import page

    check_out(out)
    source, found, looks = _looked(what, samples)
    html = page(source, found, looks)
    with whole_file(out) as file:
        file.write(html.encode())
    return found


def report_json(what: str, samples: int) -> str:
    """The same figures as JSON."""
    from fastdata.commands.report.verdicts import verdicts

    _, found, _ = _looked(what, samples)
    return as_json(found._asdict() | {"verdicts": verdicts(found)})


def _looked(what: str, samples: int) -> tuple[Source, Survey, Looks]:
    source = open_source(what)
    with bar(
        len(spread_numbers(len(source.classes), samples)), "samples", "looked at; no report is written"
    ) as advance:
        found, looks = survey(what, source, samples, advance)
    return source, found, looks
