"""Documentation that is not true any more fails here: codes, links, commands, the image.

That docs/configuration.md and docs/metrics.md are those of the code is tested beside the code.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest

from aws_signing_proxy.config.settings import declarations
from aws_signing_proxy.errors import ErrorCode, answer_to

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
DECISIONS = ROOT / "docs" / "decisions"
# Where packages come from is the business of whoever installs: an address that stands here outlives its host.
PACKAGE_INDEX = re.compile(r"index-url|find-links|/simple\b|\bregistry\.|\bpypi\b", re.IGNORECASE)
SHORT_PAGE_LINES = 70


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def by_path(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_documented_with_its_status_and_meaning(code: ErrorCode) -> None:
    rows = [cells_of(line) for line in text_of(ROOT / "docs/errors.md").splitlines() if line.startswith(f"| `{code}` ")]
    assert len(rows) == 1, f"{code} needs one row in docs/errors.md"
    _, status, meaning, cause, what_to_do = rows[0]
    assert (status, meaning) == (str(answer_to(code).status), answer_to(code).title)
    assert cause
    assert what_to_do


def test_no_error_code_is_documented_that_is_none() -> None:
    found = re.findall(r"^\| `([a-z0-9_]+)` \| \d{3} \|", text_of(ROOT / "docs/errors.md"), re.MULTILINE)
    assert sorted(found) == sorted(ErrorCode)


def test_the_example_of_an_error_is_what_is_sent() -> None:
    example = re.search(r"```json\n(.*?)```", text_of(ROOT / "docs/errors.md"), re.DOTALL)
    assert example is not None
    shown = json.loads(example[1])
    answer = answer_to(ErrorCode(shown["code"]))
    assert (shown["status"], shown["title"]) == (answer.status, answer.title)
    assert shown["type"] == f"urn:aws-signing-proxy:error:{shown['code']}"


def test_every_setting_of_the_original_is_in_the_table_for_its_users() -> None:
    page = text_of(ROOT / "docs/replacing-the-original.md")
    contract = {
        *("ASP_TARGET_URL", "ASP_PORT", "ASP_MGMT_PORT", "ASP_SERVICE", "ASP_CREDENTIALS_PROVIDER", "ASP_ROLE_ARN"),
        *("ASP_VAULT_URL", "ASP_VAULT_PATH", "ASP_VAULT_CREDENTIALS_PATH", "ASP_VAULT_AUTH_TOKEN"),
        *("ASP_OPEN_ID_AUTH_SERVER_URL", "ASP_OPEN_ID_CLIENT_ID", "ASP_OPEN_ID_CLIENT_SECRET"),
        *("ASP_ASYNC_OPEN_ID_CREDENTIALS_FETCH", "ASP_IRSA_CLIENT_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION"),
        *("ASP_METRICS_PATH", "ASP_FLUSH_INTERVAL", "ASP_IDLE_CONN_TIMEOUT", "ASP_DIAL_TIMEOUT"),
        *("ASP_CIRCUIT_BREAKER_FAILURE_THRESHOLD", "ASP_CIRCUIT_BREAKER_TIMEOUT"),
    }
    known = {name for declared in declarations() for name in declared.environment}
    assert contract <= known
    assert {name for name in contract if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    known = {name for declared in declarations() for name in declared.environment}
    # ASP_X_Y stands for any of them.
    named = set(re.findall(r"\bASP_[A-Z_]+[A-Z]\b", text_of(page))) - {"ASP_X_Y"}
    assert named - known == set()


@pytest.mark.parametrize("page", PAGES, ids=by_path)
def test_every_link_to_a_page_of_ours_leads_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "docs/quickstart.md"], ids=by_path
)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", text_of(page), re.MULTILINE))
    assert named
    assert named <= targets


def test_the_two_commands_of_the_readme_are_what_ci_runs() -> None:
    readme, ci = text_of(ROOT / "README.md"), text_of(ROOT / ".ci/run")
    assert re.search(r"^make demo ", readme, re.MULTILINE)
    assert re.search(r"^make test ", readme, re.MULTILINE)
    assert re.search(r"^make test$", ci, re.MULTILINE)
    assert re.search(r"^ +venv/bin/aws-signing-proxy demo --once$", ci, re.MULTILINE)


def test_the_readme_fits_one_screen() -> None:
    assert len(text_of(ROOT / "README.md").splitlines()) <= SHORT_PAGE_LINES


def test_every_page_is_linked_from_the_index_and_every_decision_from_its_own() -> None:
    index = text_of(ROOT / "docs/index.md")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert {name for name in pages if f"]({name})" not in index} == set()
    decisions = {page.name for page in DECISIONS.glob("*.md")} - {"README.md"}
    assert {name for name in decisions if f"]({name})" not in text_of(DECISIONS / "README.md")} == set()


@pytest.mark.parametrize(
    "page", [*PAGES, *(ROOT / name for name in ("Makefile", ".ci/run", "Dockerfile", "pyproject.toml"))], ids=by_path
)
def test_no_page_names_the_host_of_a_package_index(page: Path) -> None:
    assert PACKAGE_INDEX.findall(text_of(page)) == []
