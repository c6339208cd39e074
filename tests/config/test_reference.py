"""The documentation and the help are made from the declaration, and are up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from aws_signing_proxy.config.declaration import Declaration, Section
from aws_signing_proxy.config.option_help import settings_help
from aws_signing_proxy.config.reference import configuration_page, main
from aws_signing_proxy.config.settings import declarations

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

each_setting = pytest.mark.parametrize("declared", declarations(), ids=lambda declared: declared.name)


def test_the_page_in_the_repository_is_the_generated_one() -> None:
    assert PAGE.read_text(encoding="utf-8") == configuration_page(), (
        "run: python -m aws_signing_proxy.config.reference --write docs/configuration.md"
    )


@each_setting
def test_the_page_has_a_row_with_everything_about_a_setting(declared: Declaration) -> None:
    (row,) = [line for line in configuration_page().splitlines() if line.startswith(f"| `{declared.environment[0]}`")]
    for text in (*declared.environment, *declared.flags, declared.summary, declared.default_text or ""):
        assert text in row
    assert row.count("|") == 6
    assert ("**Secret**" in row) == declared.is_secret
    assert ("| required |" in row) == declared.is_required


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_CONFIG_FILE"])
def test_the_page_names_what_the_credential_sources_read(name: str) -> None:
    assert f"`{name}`" in configuration_page().partition("## Read from the environment by the credential sources")[2]


def test_the_page_is_printed_or_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == configuration_page()
    assert main(["--write", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == configuration_page()
    assert main(["--wriet"]) == 2


@each_setting
def test_the_help_has_the_flags_names_and_default_of_a_setting(declared: Declaration) -> None:
    text = settings_help(100)
    paragraph = next(part for part in text.split("\n\n") if f"[{declared.environment[0]}" in part)
    heading, *_, last = paragraph.splitlines()
    for flag in declared.flags:
        assert flag in heading
    for name in declared.environment:
        assert name in last
    assert (
        declared.default_text or declared.unset_meaning or ("required" if declared.is_required else "no default")
    ) in last
    assert " ".join(declared.summary.split()) in " ".join(paragraph.split())


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_help_keeps_its_width(width: int) -> None:
    # The longest heading and the longest line of names cannot be broken.
    unbreakable = ("  --", "        [")
    assert all(len(line) <= width for line in settings_help(width).splitlines() if not line.startswith(unbreakable))


def test_the_help_fits_into_100_columns() -> None:
    assert max(len(line) for line in settings_help(100).splitlines()) <= 100


def test_the_help_groups_settings_by_section() -> None:
    headings = [line.removesuffix(":") for line in settings_help(100).splitlines() if line and line[0] != " "]
    assert headings == [str(section) for section in Section]
