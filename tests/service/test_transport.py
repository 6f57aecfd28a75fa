"""What leaves a connection, and when."""

import asyncio

import pytest

from humanparse.service.http.transport import JOINED_BYTES, PatientTransport
from humanparse.service.settings import Settings


class Wire:
    """An asyncio.Transport that sends all it is given at once."""

    def __init__(self):
        self.sent = []
        self.write = self.sent.append

    def close(self):
        self.sent.append("end")

    def abort(self):
        self.sent.append("cut off")

    def is_closing(self):
        return False

    def get_write_buffer_size(self):
        return 0


def sent(use) -> list:
    """Return what has left after `use(transport)` and one turn of the loop."""

    async def main():
        wire = Wire()
        use(PatientTransport(wire, Settings(), lambda: False, lambda: ()))
        await asyncio.sleep(0)
        return wire.sent

    return asyncio.run(main())


def write(*pieces):
    def use(transport):
        for piece in pieces:
            transport.write(piece)

    return use


LARGE = bytes(JOINED_BYTES)


@pytest.mark.parametrize(
    ("pieces", "left"),
    [
        ([b"head", b"body", b""], [b"headbody"]),
        ([b"head"], [b"head"]),  # of an answer that streams
        ([b"head", LARGE], [b"head", LARGE]),
        ([LARGE, b"head"], [LARGE, b"head"]),
        ([b"one", b"two", b"three"], [b"onetwo", b"three"]),
    ],
)
def test_the_head_of_an_answer_leaves_with_its_body(pieces, left):
    assert sent(write(*pieces)) == left


def test_what_waits_leaves_before_the_end_and_counts_as_unsent():
    def use(transport):
        transport.write(b"head")
        assert transport.num_unsent == transport.get_write_buffer_size() == 4
        transport.close()
        assert transport.num_unsent == 0

    assert sent(use) == [b"head", "end"]


def test_what_waits_is_lost_when_the_connection_is_cut_off():
    def use(transport):
        transport.write(b"head")
        transport.abort()
        transport.forget()

    assert sent(use) == ["cut off"]
