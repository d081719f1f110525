import sys
from typing import Any

from django.core.management.base import BaseCommand
from rich.markup import escape

from scrm.doctor.examination import examine
from scrm.sharding import report


class Command(BaseCommand):
    help = "Look at every server and process, say what is wrong and what to do. Fails if anything is."
    # It runs the checks itself, and says what they found in its own words.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        console = report.console(self.stdout)
        problems = remarks = 0
        for subject, findings in examine():
            if not findings:
                console.print(f"[green]ok[/green]       {subject}")
            for finding in findings:
                problems += finding.is_problem
                remarks += not finding.is_problem
                word = "[red]problem[/red] " if finding.is_problem else "[yellow]remark[/yellow]  "
                console.print(f"{word} {subject}: {escape(finding.trouble)}", soft_wrap=True)
                if finding.remedy:
                    console.print(f"         {escape(finding.remedy)}", soft_wrap=True)
        console.print(f"\n{_count(problems, 'problem')}, {_count(remarks, 'remark')}.")
        if problems:
            sys.exit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
