"""Asks a sandbox's file agent, and gives up questions that nobody wants answered."""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import count

import anyio

from lm_sandbox.errors import Conflict, LmSandboxError, SandboxFailed, Unavailable
from lm_sandbox.sandboxes.inside.channel import Message
from lm_sandbox.sandboxes.inside.entrance import Identity
from lm_sandbox.sandboxes.inside.file_errors import error_of
from lm_sandbox.sandboxes.inside.launch import Launcher
from lm_sandbox.sandboxes.inside.resident import Resident

QUICK_S = 30.0
LONG_S = 300.0
DROP_S = 5.0
DEAD = "The sandbox ended while its files were used; make a new one."


class Question:
    """Something that the agent was asked.

    Args:
        number: Its own.
        path: What it is about, for messages.
        answer: What will come.
        questions: Who asked it.
    """

    def __init__(
        self, number: int, path: str, answer: "asyncio.Future[Message]", questions: "Questions"
    ) -> None:
        self._number = number
        self._path = path
        self._answer = answer
        self._questions = questions
        self._settled = False

    async def answer(self, patience_s: float) -> Message:
        """Waits for the answer.

        Raises:
            SandboxFailed: the sandbox died.
            Conflict: its processes were ended.
            Unavailable: it did not come in time.
            LmSandboxError: it could not be done.
        """
        try:
            with anyio.fail_after(patience_s):
                answer = await self._answer
        except BrokenPipeError as error:
            raise self._questions.why_lost() from error
        except TimeoutError as error:
            raise Unavailable("The sandbox took too long; it may be busy or paused.") from error
        if "errno" in answer or "refused" in answer:
            self._settled = True
            raise error_of(answer, self._path)
        return answer

    def settle(self) -> None:
        """There is nothing left that would have to be taken back."""
        self._settled = True

    async def drop(self) -> None:
        """Takes back what was asked, and what was opened for it, unless it is settled."""
        if self._settled:
            return
        self._settled = True
        if self._answer.done() and not self._answer.cancelled() and self._answer.exception() is None:
            close_all(self._answer.result().pop("fds", ()))
        with anyio.move_on_after(DROP_S, shield=True):
            await self._questions.cancel(self._number)


class Questions:
    """All questions to the file agent of one sandbox.

    Args:
        launcher: Forks the agent.
        identity: What it becomes.
        init: A pidfd of a process in the sandbox, owned by the caller.
        alive: Tells whether the sandbox's first process runs.
    """

    def __init__(self, launcher: Launcher, identity: Identity, init: int, alive: Callable[[], bool]) -> None:
        self._resident = Resident(
            "files",
            launcher=launcher,
            order=identity.order(),
            init=init,
            alive=alive,
            on_message=self._on_message,
            on_end=self._lose_all,
        )
        self._open: dict[int, asyncio.Future[Message]] = {}
        self._numbers = count(1)
        self._alive = alive
        self._closed = False

    async def ask(self, do: str, path: str, more: Message, fds: Sequence[int] = ()) -> Question:
        """Sends a question; the descriptors stay the caller's.

        Raises:
            SandboxFailed: the sandbox is dead.
        """
        for _ in range(0 if self._closed else 2):
            channel = await self._resident.channel()
            number = next(self._numbers)
            answer = self._open[number] = asyncio.get_running_loop().create_future()
            try:
                await channel.send({**more, "do": do, "id": number, "path": path}, fds)
            except BrokenPipeError:
                del self._open[number]
            except BaseException:
                await Question(number, path, answer, self).drop()
                raise
            else:
                return Question(number, path, answer, self)
        raise self.why_lost()

    async def quick(self, do: str, path: str, **more: object) -> Message:
        """Asks what is a matter of a few system calls."""
        return await _told(await self.ask(do, path, more), QUICK_S)

    async def long(self, do: str, path: str, **more: object) -> Message:
        """Asks what may take its time."""
        return await _told(await self.ask(do, path, more), LONG_S)

    async def cancel(self, number: int) -> None:
        """Takes back what was asked or opened under a number."""
        answer = self._open.pop(number, None)
        if answer is not None:
            answer.cancel()
        await self._resident.send_if_there({"cancel": number})

    def why_lost(self) -> LmSandboxError:
        """Says why the agent is gone."""
        if self._closed or not self._alive():
            return SandboxFailed(DEAD)
        return Conflict("The sandbox's processes were ended while its files were used; try again.")

    def close(self) -> None:
        """Ends the agent; who waits is told that the sandbox is dead."""
        self._closed = True
        self._resident.close()
        self._lose_all()

    def _on_message(self, message: Message) -> None:
        answer = self._open.pop(message["id"], None)
        if answer is not None and not answer.done():
            answer.set_result(message)
            return
        close_all(message.get("fds", ()))

    def _lose_all(self) -> None:
        lost, self._open = self._open, {}
        for answer in lost.values():
            if not answer.done():
                answer.set_exception(BrokenPipeError())
                answer.exception()  # Seen, also where nobody waits any more.


async def _told(question: Question, patience_s: float) -> Message:
    try:
        answer = await question.answer(patience_s)
        question.settle()
    finally:
        await question.drop()
    return answer


def close_all(fds: Iterable[int]) -> None:
    """Closes descriptors that came with an answer."""
    for fd in fds:
        os.close(fd)
