"""Opening files that are not trusted: nothing blocks, nothing endless is read."""

import os
import socket
from pathlib import Path

import pytest

from neurodecorr.errors import CheckpointError, ConfigError, InputError
from neurodecorr.io.files import open_regular, read_regular, read_regular_text, regular_size

MAPS = Path("/proc/self/maps")


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def device(path):
    path.symlink_to("/dev/tty" if Path("/dev/tty").exists() else "/dev/null")


def unix_socket(path):
    server = socket.socket(socket.AF_UNIX)
    here = os.open(".", os.O_RDONLY)
    try:
        os.chdir(path.parent)  # the path of a socket may have 107 bytes
        server.bind(path.name)
    finally:
        os.fchdir(here)
        os.close(here)
        server.close()


def folder(path):
    path.mkdir()


def dangling(path):
    path.symlink_to(path.with_name("nothing"))


def loop(path):
    path.symlink_to(path)


NO_FILES = (pipe, endless, device, unix_socket, folder, dangling, loop)


@pytest.mark.parametrize("make", NO_FILES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("error", [CheckpointError, ConfigError, InputError], ids=lambda error: error.__name__)
def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path, make, error):
    path = tmp_path / "it"
    make(path)
    for read in (open_regular, read_regular, lambda path, most, **options: regular_size(path, **options)):
        with pytest.raises(error, match="cannot read the thing"):
            read(path, 100, what="thing", error=error)


def test_a_link_to_a_file_is_followed_unless_it_may_not_be(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", 3) == b"abc"
    with pytest.raises(CheckpointError, match="a link"):
        read_regular(tmp_path / "link", 3, follow=False)


def test_a_file_may_hold_as_much_as_it_is_allowed_and_no_byte_more(tmp_path):
    (tmp_path / "file").write_bytes(b"abcd")
    assert read_regular(tmp_path / "file", 4) == b"abcd" and regular_size(tmp_path / "file") == 4
    for read in (read_regular, open_regular):
        with pytest.raises(CheckpointError, match="at most 3 bytes; it holds 4"):
            read(tmp_path / "file", 3)


@pytest.mark.skipif(not MAPS.exists(), reason="files without a size")
def test_a_file_that_hides_its_size_is_counted_while_it_is_read():
    assert MAPS.stat().st_size == 0 and MAPS.is_file()
    with pytest.raises(CheckpointError, match="at most 10 bytes; it holds more"):
        read_regular(MAPS, 10)


def test_a_missing_file_keeps_the_number_of_its_error(tmp_path):
    with pytest.raises(CheckpointError, match="No such file") as caught:
        open_regular(tmp_path / "gone")
    assert caught.value.errno == 2


def test_a_name_that_no_file_can_have_is_refused():
    with pytest.raises(InputError):
        open_regular("a\0b", error=InputError)


def test_text_may_begin_with_a_mark_of_its_byte_order_and_must_be_utf8(tmp_path):
    (tmp_path / "marked").write_bytes("\ufeffτ\r\n".encode())
    assert read_regular_text(tmp_path / "marked", 100) == "τ\r\n"
    (tmp_path / "other").write_bytes("τ".encode("utf-16"))
    with pytest.raises(ConfigError, match="UTF-8"):
        read_regular_text(tmp_path / "other", 100, error=ConfigError)


def test_open_files_are_closed_when_they_are_refused(tmp_path):
    own = Path("/proc/self/fd")
    before = len(list(own.iterdir())) if own.exists() else None
    pipe(tmp_path / "pipe")
    for _ in range(20):
        with pytest.raises(CheckpointError):
            open_regular(tmp_path / "pipe")
    if before is not None:
        assert len(list(own.iterdir())) == before
