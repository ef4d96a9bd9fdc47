"""Requests that an asyncio loop waits for: a completion queue per loop, and a line for free slots."""

from __future__ import annotations

import asyncio
import errno
import os
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._pygd2fs import Request, _Queue

if TYPE_CHECKING:
    from .client import Client


class _Group:
    """Requests that one coroutine awaits together."""

    __slots__ = ("future", "left")

    def __init__(self, loop: asyncio.AbstractEventLoop, left: int) -> None:
        self.left = left
        self.future: asyncio.Future[None] = loop.create_future()

    def one_ended(self) -> None:
        self.left -= 1
        if self.left == 0 and not self.future.done():
            self.future.set_result(None)


class LoopQueue:
    """One event loop's completion queue. All but shut() is called on the loop's thread.

    The loop holds it as a reader, so it holds neither the loop nor the Client."""

    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self.queue = _Queue(client)
        # A descriptor of our own: the library closes its one in Client.close(), perhaps from another
        # thread, and by the time this loop forgets it the number may be somebody else's.
        self._fd = os.dup(self.queue.fd())
        self._pending: dict[Request, _Group] = {}
        loop.add_reader(self._fd, self._drain)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)

    def _drain(self) -> None:
        try:
            ended = self.queue.reap(0)
        except OSError:  # the Client is being closed: leave() follows
            return
        for request in ended:
            group = self._pending.pop(request, None)
            if group is not None:
                group.one_ended()

    async def ended(self, requests: list[Request]) -> None:
        """Returns when all have completed. Cancelled, it cancels them and raises when they have: no peer
        can touch their memory then."""
        try:
            await self._all(requests)
        except asyncio.CancelledError:
            await self.cancel(requests)
            raise
        except GeneratorExit:  # the loop gave the coroutine up: nothing can be awaited any more
            for request in requests:
                request.Cancel()
            raise

    async def cancel(self, requests: list[Request]) -> None:
        """Cancels the requests and returns when all have completed, whatever happens meanwhile."""
        for request in requests:
            request.Cancel()
        while not all(request.Done() for request in requests):
            try:
                await self._all(requests)
            except asyncio.CancelledError:
                continue  # the caller raises its own when this returns

    def _all(self, requests: list[Request]) -> asyncio.Future[None]:
        """A future that is done when the requests are."""
        left = [request for request in requests if not request.Done()]
        group = _Group(asyncio.get_running_loop(), len(left))
        for request in left:
            self._pending[request] = group
        if not left:
            group.future.set_result(None)
        return group.future

    def leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Takes the queue out of its loop, when the Client has closed; every request has ended."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if not loop.is_closed():
            loop.remove_reader(fd)
        os.close(fd)
        for group in self._pending.values():
            group.left = 1
            group.one_ended()
        self._pending.clear()


class LoopQueues:
    """The queues of all loops that use a Client, and the line of requests that wait for a slot."""

    def __init__(self) -> None:
        self._queues: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopQueue] = (
            weakref.WeakKeyDictionary()
        )
        self._line: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        # Those who left the line to try, and have not yet.
        self._turns: set[asyncio.Future[None]] = set()
        self._full_at = 0  # requests in flight when the library last took no more

    def of_running_loop(self, client: Client) -> LoopQueue:
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            # asyncio.run() makes a loop each time; the queues of those that are over go first.
            for other in [other for other in list(self._queues) if other.is_closed()]:
                self._queues.pop(other).queue.destroy()
            queue = self._queues[loop] = LoopQueue(client, loop)
        return queue

    def try_submit(self, client: Client, start: Callable[[], object]) -> bool:
        """Calls start(), which submits. False: too many are in flight, or others wait already."""
        if self._line or self._turns:
            return False
        return self._accepted(client, start)

    def _accepted(self, client: Client, start: Callable[[], object]) -> bool:
        try:
            start()
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise
            self._full_at = client.InFlight()
            return False
        return True

    async def submit(self, client: Client, start: Callable[[], object]) -> None:
        """Calls start() when its turn has come, until the library takes what it submits."""
        reaped, at_front = client._reaped(), False
        while True:
            await self._stand_in_line(client, reaped, at_front=at_front)
            reaped, at_front = client._reaped(), True
            try:
                if self._accepted(client, start):
                    break
            except BaseException:
                self.wake(1)  # the turn passes on
                raise
        if client.InFlight() < self._full_at:
            self.wake(1)  # more has become free than turns were given

    async def _stand_in_line(self, client: Client, reaped: int, *, at_front: bool) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        (self._line.appendleft if at_front else self._line.append)((loop, future))
        client._set_on_reaped(self.wake)
        # Another thread may have freed slots since the library said no, and woken nobody.
        if client._reaped() != reaped or client.InFlight() == 0 or client._closed():
            self.wake(1)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.wake(1)  # the turn passes on
            raise
        finally:
            self._turns.discard(future)

    def wake(self, count: int) -> None:
        """Gives `count` waiting requests another try. Any thread."""
        turns: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        while count > 0:
            try:
                loop, future = self._line.popleft()
            except IndexError:
                break
            if not future.done():
                self._turns.add(future)
                turns.setdefault(loop, []).append(future)
                count -= 1
        for loop, futures in turns.items():
            try:
                loop.call_soon_threadsafe(self._give_turns, futures)
            except RuntimeError:  # that loop is closed
                self._turns.difference_update(futures)
                self.wake(len(futures))

    def _give_turns(self, futures: list[asyncio.Future[None]]) -> None:
        passed_on = 0
        for future in futures:
            if future.done():
                passed_on += 1
            else:
                future.set_result(None)
        if passed_on:
            self.wake(passed_on)

    def close(self) -> None:
        """Lets every loop know that the Client has closed. Any thread."""
        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, queue in list(self._queues.items()):
            if loop is running or loop.is_closed():
                queue.leave(loop)
                continue
            try:
                loop.call_soon_threadsafe(queue.leave, loop)
            except RuntimeError:  # closed just now
                queue.leave(loop)
        self.wake(len(self._line))
