"""Optuna's dashboard reads the database of a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")

import optuna  # noqa: E402
from stored_studies import IDENTITY, plenty  # noqa: E402

from archon.study.storage import opened_storage, sqlite_url  # noqa: E402


def asked(app: Any, path: str) -> Any:
    """Return the application's response to a GET."""
    status: list[str] = []
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": "after=0",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(app(environment, lambda line, headers, error=None: status.append(line)))
    assert status == ["200 OK"]
    return json.loads(body)


@pytest.mark.filterwarnings("ignore")
def test_the_dashboard_shows_the_study_its_trials_and_importances(tmp_path: Path) -> None:
    with opened_storage(sqlite_url(tmp_path / "study.db")) as storage:
        study = optuna.create_study(
            storage=storage, study_name="one", directions=["maximize", "minimize"]
        )
        study.set_user_attr("archon", IDENTITY)
        study.add_trials(plenty())
        app = dashboard.wsgi(storage)
        (summary,) = asked(app, "/api/studies")["study_summaries"]
        assert summary["study_name"] == "one"
        path = f"/api/studies/{summary['study_id']}"
        assert len(asked(app, path)["trials"]) == 30
        of_accuracy, _ = asked(app, f"{path}/param_importances")["param_importances"]
        names = {row["name"] for row in of_accuracy}
        assert names == {"samples", "temperature", "check", "method"}
