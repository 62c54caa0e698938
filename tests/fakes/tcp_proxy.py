"""A proxy before a real server that goes away, comes back, loses answers and holds its tongue."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from flywheel.cli.prefect_server import free_port


class TcpProxy:
    """Forwards connections on `port` of 127.0.0.1 to `target`, as long as it is up."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._losing: tuple[bytes, int] = (b"", 0)
        self._silent = False
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = free_port()  # nobody else is given it while the proxy is down
        self.lost = 0
        self._turning_away = 0
        self.turned_away = 0
        self.up()

    def up(self) -> None:
        """Take connections."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self._listener = listener
        self._start(self._accept, listener)

    def down(self) -> None:
        """Refuse connections and drop those there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self.reset()

    def reset(self) -> None:
        """Drop all connections."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def turn_away(self, times: int) -> None:
        """Drop that many of the next connections as soon as they are made, those there are as well."""
        self._turning_away = times
        self.reset()

    def lose_answers(self, question: bytes, times: int) -> None:
        """Pass on what holds `question`, and drop the connection in place of the answer, `times` times."""
        with self._lock:
            self._losing = (question, times)

    def be_silent(self) -> None:
        """Take questions and answer none from now on."""
        self._silent = True

    def close(self) -> None:
        """Stop, and wait for all threads."""
        self.down()
        for thread in self._threads:
            thread.join(timeout=60)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if self.turned_away < self._turning_away:
                self.turned_away += 1
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=60)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            lose = threading.Event()
            self._start(self._pump, client, server, lose, True)
            self._start(self._pump, server, client, lose, False)

    def _pump(self, source: socket.socket, sink: socket.socket, lose: threading.Event, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks:
                    self._take_note(data, lose)
                elif lose.is_set():
                    self.lost += 1
                    break
                if not self._silent:
                    sink.sendall(data)
        for connection in (source, sink):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._open.discard(source)
        source.close()

    def _take_note(self, data: bytes, lose: threading.Event) -> None:
        with self._lock:
            question, times = self._losing
            if times and question in data:
                self._losing = (question, times - 1)
                lose.set()


@contextlib.contextmanager
def tcp_proxy(host: str, port: int) -> Iterator[TcpProxy]:
    """A proxy before `host`:`port`."""
    proxy = TcpProxy((host, port))
    try:
        yield proxy
    finally:
        proxy.close()
