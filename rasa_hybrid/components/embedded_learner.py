"""`learner: embedded`: the server keeps a learner of its own, and goes on with what that promotes.

The learner is a child process that runs `rasa-hybrid learn`: the same code, the same gate, the same states. In a thread its
updates would hold the interpreter's lock while users wait for replies, and its memory would stay with the server. Learner and
server meet in the store: the head of the ledger is what has to be served.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, List, Mapping, Optional

from rasa.shared.exceptions import InvalidConfigException

from rasa_hybrid.feedback.database import Database
from rasa_hybrid.feedback.ledger import Ledger, Model

logger = logging.getLogger(__name__)

#: Seconds until a learner that has ended is started again, and that one is given to end by itself.
_PAUSE, _PARTING = 60.0, 5.0


class EmbeddedLearner:
    """Starts and ends the learner of a server, and swaps in the models that it promotes.

    Args:
        store: URL of the episode store.
        learning: checked settings, see `channel_configuration.DEFAULTS`.

    Raises:
        InvalidConfigException: if there are several workers, or a file is not there.
    """

    def __init__(self, store: str, learning: Mapping[str, Any]) -> None:
        workers = os.environ.get("SANIC_WORKERS", "1").strip()
        if workers not in ("", "0", "1"):
            raise InvalidConfigException(
                f"FeedbackChannel: learner: embedded needs a server with one worker, SANIC_WORKERS is {workers}: run "
                "`rasa-hybrid learn` and `rasa-hybrid serve-models` beside the server instead."
            )
        for path in (*learning["corpus"], *learning["regression"]):
            if not Path(path).is_file():
                raise InvalidConfigException(f"FeedbackChannel: learning: there is no file {path}.")
        if learning["project"] is not None and not Path(learning["project"]).is_dir():
            raise InvalidConfigException(
                f"FeedbackChannel: learning: project: there is no folder {learning['project']}."
            )
        self._store, self._learning = store, learning
        self._process: Optional[subprocess.Popen] = None
        self._ended: Optional[float] = None
        self._served: Optional[str] = None

    async def look_after(self, app: Any, database: Database) -> None:
        """Runs until it is cancelled, which ends the learner too.

        Args:
            app: of the server.
            database: of the episode store.
        """
        try:
            while True:
                try:
                    agent = getattr(app.ctx, "agent", None)
                    if agent is not None and agent.is_ready():
                        if agent.model_server is not None:
                            logger.error(
                                "`models:` in endpoints.yml and `learner: embedded` both decide on the model that is "
                                "served: take one of them away. Nothing is learnt in this server."
                            )
                            return
                        await self._step(agent, database)
                except Exception:
                    logger.exception(
                        "The embedded learner could not be looked after; it is tried again."
                    )
                await asyncio.sleep(min(self._learning["interval"], 2.0))
        finally:
            self._end()

    async def _step(self, agent: Any, database: Database) -> None:
        """Sees to it that the learner runs, and that its last model is served."""
        loop = asyncio.get_running_loop()
        if agent.model_id != self._served:
            # The server has just started, or somebody else has given it another model.
            self._end()
            path = _archive(agent.processor)
            head = await loop.run_in_executor(None, self._begin_with, path, database)
            self._served = agent.model_id
        else:
            head = await loop.run_in_executor(None, Ledger(database).head)
        self._keep_running()
        if head is not None and head.id != self._served:
            # Turns that are under way end with the model that they began with.
            path = str(self._folder().archive(head.id))
            await loop.run_in_executor(None, agent.load_model, path)
            self._served = agent.model_id
            logger.info(f"The model {head.id} is served now.")

    # The learner and its folder need a POSIX system, which a server without an embedded one does not.
    def _begin_with(self, path: str, database: Database) -> Optional[Model]:
        from rasa_hybrid.feedback.learner import begin_with

        # The newest archive of the folder may be one that was rolled back a moment ago.
        return begin_with(path, Ledger(database), self._folder(), is_choice=False)

    def _folder(self) -> Any:
        from rasa_hybrid.feedback.folder import ModelFolder

        return ModelFolder(self._learning["out"])

    def _keep_running(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            logger.error(
                f"The embedded learner has ended with status {self._process.returncode}, see above; it is started "
                f"again in {_PAUSE:.0f} seconds."
            )
            self._process, self._ended = None, time.monotonic()
        if self._ended is None or time.monotonic() - self._ended > _PAUSE:
            command = [sys.executable, "-m", "rasa_hybrid.commands", "learn", "--leash"]
            self._process = subprocess.Popen(
                [*command, *self._options()],
                stdin=subprocess.PIPE,
                # Not among the arguments, which others can see: it may hold a password.
                env={**os.environ, "RASA_HYBRID_STORE": self._store},
            )

    def _options(self) -> List[str]:
        learning = self._learning
        options = [] if learning["gate"] else ["--no-gate"]
        for name in ("corpus", "regression"):
            for path in learning[name]:
                options += [f"--{name}", path]
        if learning["project"] is not None:
            options += ["--project", learning["project"]]
        for name, value in learning.items():
            if name not in ("corpus", "regression", "project", "gate"):
                options += [f"--{name.replace('_', '-')}", str(value)]
        return options

    def _end(self) -> None:
        """Ends the learner, which may happen at any moment."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.terminate()
        try:
            self._process.wait(_PARTING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _archive(processor: Any) -> str:
    """The archive that was loaded; Rasa may have been given the folder."""
    path = Path(processor.model_path)
    return str(path / processor.model_filename if path.is_dir() else path)
