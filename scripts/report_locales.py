"""Write results/locales.tsv, one row per dataset and method, and results/report.html, a page that stands alone."""

from datetime import date
from pathlib import Path

from catid2.config.base import parse
from catid2.config.report import Comparison, ReportConfig
from catid2.report.inputs import read_comparison
from catid2.report.page import write_page
from catid2.report.provenance import commit
from catid2.report.tables import write_locales
from catid2.runtime.command import entry_point, new_parser
from catid2.runtime.writing import atomic, claim


@entry_point
def main() -> None:
    parser = new_parser(__doc__)
    parser.add_argument("--config", required=True, help="settings as JSON: keys of ReportConfig")
    parser.add_argument("--comparison", required=True, help="what is compared, as JSON: keys of Comparison")
    parser.add_argument("--results", required=True, type=Path, help="the folder with a folder per dataset")
    parser.add_argument("--table", required=True, type=Path, help="locales.tsv to write")
    parser.add_argument("--page", required=True, type=Path, help="report.html to write")
    arguments = parser.parse_args()
    config = parse(ReportConfig, arguments.config)
    comparison = parse(Comparison, arguments.comparison)
    with claim(arguments.table):
        tables = read_comparison(arguments.results, comparison)
        with atomic(arguments.table, arguments.page) as (table, page):  # both or neither
            made = {"commit": commit(Path(__file__).parent), "day": date.today()}
            write_page(page, arguments.results, comparison, config, tables, **made)
            write_locales(table, tables)


if __name__ == "__main__":
    main()
