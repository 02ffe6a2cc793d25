"""Files that ask for far more memory than they have bytes: refused in one line, in little memory."""

import json
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pickles import dictionary, integers, tensor, text, torch_file

from ppcore.weights.inert import inert_globals

MIB = 2**20

# Reads each file in a process of its own whose address space may grow by 96 MiB and ten times the file.
# (Reading takes 64 MiB and eight times the file at most; the rest is for the allocators.)
READER = """
import json, os, resource, signal, sys
from ppcore.errors import WeightsError
from ppcore.weights.files import read

def status(key):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(key))

def outcome(path):
    room = (96 << 20) + 10 * os.stat(path).st_size
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + room,) * 2)
    signal.alarm(20)
    try:
        return f"read {len(read(path))}"
    except WeightsError as error:
        return str(error)

for path in sys.argv[1:]:
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.write(theirs, outcome(path).encode()[:4000])
        os._exit(0)
    os.close(theirs)
    said = b"".join(iter(lambda: os.read(ours, 4000), b"")).decode()
    print(json.dumps([said, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]))
"""


def read_each(root: Path, paths: list[Path]) -> list[str]:
    """What reading each file gave, in little memory: `read N`, N arrays, or the message of the error."""
    done = subprocess.run(
        [sys.executable, "-c", READER, *map(str, paths)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [status for _, status in outcomes] == [0] * len(paths), "killed, or out of time"
    return [said for said, _ in outcomes]


def put(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def get(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)


def call(name: str, *arguments: bytes) -> bytes:
    return b"c" + name.replace(" ", "\n").encode() + b"\n(" + b"".join(arguments) + b"tR"


FLOAT16 = b"cnumpy\ndtype\n(" + text("f2") + b"\x89\x88tR"
UINT16 = FLOAT16.replace(b"f2", b"u2")


def array(dtype: bytes, count: int, data: bytes) -> bytes:
    """numpy's own pickle of a vector."""
    empty = call("numpy.core.multiarray _reconstruct", b"cnumpy\nndarray\n", b"K\x00\x85", b"C\x01b")
    return empty + b"(K\x01" + integers([count]) + dtype + b"\x89" + data + b"tb"


def binary(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def names(count: int, value: bytes) -> bytes:
    return b"(" + b"".join(text(str(i)) + value for i in range(count)) + b"u"


# A list of ten thousand numbers in memo 0, and other bulk to repeat; each repetition takes a few bytes.
LIST = b"](" + b"K\x07" * 10_000 + b"e" + put(0) + b"0"
BULK = binary(bytes(MIB)) + put(0) + b"0"
OUTER = b"]" + b"("


def repeated(bulk: bytes, once: bytes, times: int = 5_000) -> bytes:
    return bulk + OUTER + once * times + b"e"


def doubled(levels: int) -> bytes:
    """A tuple of two tuples of two tuples …, in memo 0: small, but endless to print or hash."""
    return b")" + (put(0) + b"0" + get(0) + get(0) + b"\x86") * levels + put(0)


def matryoshka(entries: int, levels: int) -> bytes:
    """Dictionaries, every one holding the same dictionary many times."""
    inner = b"}" + put(0) + b"0"
    for _ in range(levels):
        inner += b"}" + names(entries, get(0)) + put(0) + b"0"
    return inner + get(0)


PICKLES = {
    "memo": b"Nr\xff\xff\xff\x05",
    "memo-text": b"Np99999999\n",
    "claimed-text": b"\x8d" + struct.pack("<Q", 2**40),
    "claimed-bytes": b"\x8e" + struct.pack("<Q", 2**40),
    "claimed-bytearray": b"\x96" + struct.pack("<Q", 2**33),
    "claimed-bytearray-4": b"\x96" + struct.pack("<Q", 2**31 - 1) + b"12345678",
    "claimed-integer": b"\x8b" + struct.pack("<i", 2**31 - 1),
    "claimed-frame": b"\x95" + struct.pack("<Q", 2**40),
    "sets": OUTER + b"\x8f" * MIB + b"e",
    "dictionaries": OUTER + b"}" * MIB + b"e",
    "lists": b"]" * MIB,
    "tuples": b")" + b"\x85" * MIB,
    "memoized": OUTER + b"]\x94" * MIB + b"e",
    "marks": b"(" * (2 * MIB),
    "namespaces": b"cargparse\nNamespace\n" + put(0) + b"0" + OUTER + (get(0) + b")\x81") * 200_000 + b"e",
    "ordered": b"ccollections\nOrderedDict\n" + put(0) + b"0" + OUTER + (get(0) + b")R") * 200_000 + b"e",
    "copied-tuple": repeated(LIST, b"cbuiltins\ntuple\n" + get(0) + b"\x85R"),
    "copied-ordered": repeated(
        b"](" + b"".join(b"J" + struct.pack("<i", i) + b"N\x86" for i in range(10_000)) + b"e" + put(0) + b"0",
        b"ccollections\nOrderedDict\n" + get(0) + b"\x85R",
    ),
    "copied-state": repeated(
        b"}" + names(10_000, b"N") + put(0) + b"0", b"cargparse\nNamespace\n)\x81" + get(0) + b"b"
    ),
    "encoded": repeated(text("x" * MIB) + put(0) + b"0", b"c_codecs\nencode\n" + get(0) + text("latin1") + b"\x86R"),
    "built": repeated(BULK + FLOAT16 + put(1) + b"0", array(get(1), MIB // 2, get(0)), 2_000),
    "bytes-of-a-number": dictionary({"w": array(FLOAT16, 1, b"J\xff\xff\xff\x7f")}),
    "one-array-by-many-names": array(FLOAT16, MIB // 2, binary(bytes(MIB))) + put(0) + b"0}" + names(500, get(0)),
    "bfloat16-by-many-names": array(UINT16, MIB // 2, binary(bytes(MIB))) + put(0) + b"0}" + names(500, get(0)),
    "dictionary-in-dictionary": matryoshka(300, 4),
    "endless-key": doubled(60) + b"0}" + get(0) + b"Ns",
    "endless-key-text": b"}" + text("w") + b"}" + doubled(25) + b"Nss",
    "function-of-itself": b"c_codecs\nencode\n" + put(0) + b"(" + get(0) + b")}Ntb" + b")R",
    "endless-codec": call("_codecs encode", text("x"), doubled(60)),
    "endless-dtype": call("numpy dtype", doubled(60)),
    "endless-argument": b"](" + doubled(60) + b"N\x86e" + put(1) + b"0" + call("argparse Namespace", get(1)),
    "letters": repeated(text("\u4e00" * 100_000) + put(0) + b"0", b"cbuiltins\ntuple\n" + get(0) + b"\x85R", 1_000),
    "endless-shape": dictionary({"w": array(FLOAT16, 1, binary(b"12")).replace(integers([1]), doubled(60))}),
}


@pytest.fixture(scope="module")
def pickled(tmp_path_factory, root) -> dict[str, str]:
    folder, paths = tmp_path_factory.mktemp("pickles"), []
    for name, content in PICKLES.items():
        paths.append(folder / f"{name}.pdparams")
        paths[-1].write_bytes(b"\x80\x02" + content + b".")
    return dict(zip(PICKLES, read_each(root, paths), strict=True))


@pytest.mark.parametrize("name", PICKLES)
def test_pickle(pickled, name):
    said = pickled[name]
    assert f"{name}.pdparams" in said, said  # an error, which names the file
    assert "\n" not in said
    assert "MemoryError" not in said


def lying(path: Path, member: str, **claims: int) -> Path:
    """Changes what the directory of a zip archive says of a member's sizes."""
    data = bytearray(path.read_bytes())
    at = next(
        i for i in range(len(data)) if data[i : i + 4] == b"PK\x01\x02" and data[i + 46 :].startswith(member.encode())
    )
    for name, value in claims.items():
        offset = at + {"method": 10, "packed": 20, "whole": 24}[name]
        data[offset : offset + (2 if name == "method" else 4)] = value.to_bytes(2 if name == "method" else 4, "little")
    path.write_bytes(data)
    return path


def torch_of(path: Path, entries: dict[str, bytes], storages: dict[str, bytes], **kwargs) -> Path:
    return torch_file(path, dictionary(entries), storages, **kwargs)


ONE = tensor("FloatStorage", "0", 4, 0, (4,), (1,))
FOUR = {"0": np.ones(4, "<f4").tobytes()}
ZEROS = 128 * MIB


def torch_deflated(path: Path) -> Path:
    entry = tensor("ByteStorage", "0", ZEROS, 0, (ZEROS,), (1,))
    return torch_of(path, {"w": entry}, {"0": bytes(ZEROS)}, compression=zipfile.ZIP_DEFLATED)


def torch_deflated_more_than_said(path: Path) -> Path:
    entry = tensor("ByteStorage", "0", 16, 0, (16,), (1,))
    torch_of(path, {"w": entry}, {"0": bytes(ZEROS)}, compression=zipfile.ZIP_DEFLATED)
    return lying(path, "archive/data/0", whole=16)


def torch_shared(path: Path) -> Path:
    entries = {str(i): tensor("ByteStorage", "0", MIB, i, (MIB - 500,), (1,)) for i in range(400)}
    return torch_of(path, entries, {"0": bytes(MIB)})


def torch_endless_storage(path: Path) -> Path:
    pid = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + doubled(25) + text("cpu") + b"K\x04tQ"
    return torch_of(path, {"w": pid}, FOUR)


def torch_lzma(path: Path) -> Path:
    torch_of(path, {"w": ONE}, FOUR, compression=zipfile.ZIP_LZMA)
    data = path.read_bytes()
    # LZMA's properties: a dictionary of 4 GiB for every member.
    properties = data.index(b"\x09\x04\x05\x00") + 5
    path.write_bytes(data[:properties] + b"\xff\xff\xff\xef" + data[properties + 4 :])
    return path


def is_one_line(said: str, file: str) -> None:
    """A refusal that names its file, and is not that memory ran out."""
    assert file in said, said
    assert "\n" not in said
    assert "MemoryError" not in said


TORCH = {
    "deflated": torch_deflated,
    "deflated-more-than-said": torch_deflated_more_than_said,
    "stride-0": lambda path: torch_of(path, {"w": tensor("FloatStorage", "0", 4, 0, (100_000_000,), (0,))}, FOUR),
    "stride-0-half": lambda path: torch_of(path, {"w": tensor("HalfStorage", "0", 8, 0, (100_000_000,), (0,))}, FOUR),
    "sizes-overflow": lambda path: torch_of(path, {"w": tensor("FloatStorage", "0", 4, 0, (2**30,) * 60, (0,) * 60)}, FOUR),
    "too-many-sizes": lambda path: torch_of(path, {"w": tensor("FloatStorage", "0", 4, 0, (1,) * 100, (0,) * 100)}, FOUR),
    "one-storage": torch_shared,
    "whole-claimed": lambda path: lying(torch_of(path, {"w": ONE}, FOUR), "archive/data/0", whole=2**31),
    "both-claimed": lambda path: lying(
        torch_of(path, {"w": ONE}, FOUR), "archive/data/0", whole=2**31, packed=2**31
    ),
    "pickle-claimed": lambda path: lying(
        torch_of(path, {"w": ONE}, FOUR), "archive/data.pkl", whole=2**31, packed=2**31
    ),
    "lzma": torch_lzma,
    "endless-storage": torch_endless_storage,
    "memo": lambda path: torch_file(path, b"Nr\xff\xff\xff\x05", {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def torched(tmp_path_factory, root) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("torch")
    paths = [make(folder / f"{name}.pth") for name, make in TORCH.items()]
    return dict(zip(TORCH, read_each(root, paths), strict=True))


@pytest.mark.parametrize("name", TORCH)
def test_torch(torched, name):
    is_one_line(torched[name], f"{name}.pth")


def npy(shape: str, descr: str = "'<f4'", data: bytes = b"1234", version: bytes = b"\x01\x00") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(header)) + header + data


NPZ: dict[str, bytes] = {
    "shape": npy("(1000000000,)"),
    "shape-2": npy("(1000000000,)", version=b"\x02\x00"),
    "shape-overflow": npy("(1152921504606846976, 64)"),
    "negative": npy("(-1,)"),
    "structured": npy("()", "[('a', '<f4', (1000000000,))]"),
    "void": npy("()", "'|V1000000000'"),
    "nothing": npy("(100000000,)", "'|V0'"),
    "objects": npy("(1000000000,)", "'|O'", pickle.dumps([])),
    "header": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{",
    "deep-header": npy("(" * 5000),
    "version": npy("(1,)", version=b"\x03\x00"),
    "deflated": npy(f"({ZEROS // 4},)", data=bytes(ZEROS)),
}


@pytest.fixture(scope="module")
def zipped(tmp_path_factory, root) -> dict[str, str]:
    folder, paths = tmp_path_factory.mktemp("npz"), []
    for name, content in NPZ.items():
        paths.append(folder / f"{name}.npz")
        with zipfile.ZipFile(paths[-1], "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("w.npy", content)
    return dict(zip(NPZ, read_each(root, paths), strict=True))


@pytest.mark.parametrize("name", NPZ)
def test_npz(zipped, name):
    is_one_line(zipped[name], f"{name}.npz")


def safetensors_file(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(struct.pack("<Q", len(encoded) if length is None else length) + encoded + data)
    return path


def entry(start: int, end: int, shape: list[int]) -> dict:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


SAFETENSORS: dict[str, tuple] = {
    "header": ({"w": entry(0, 4, [1])}, b"1234", 2**62),
    "header-90-million": ({"w": entry(0, 4, [1])}, b"1234", 90_000_000),
    "data": ({"w": entry(0, 2**40, [2**38])}, b"1234"),
    "shape": ({"w": entry(0, 4, [2**62, 4])}, b"1234"),
    "overlap": ({str(i): entry(0, 4096, [1024]) for i in range(1000)}, bytes(4096)),
    "nested": (b"[" * 1_000_000, b""),
    "descriptions": ({str(i): entry(0, 0, [0]) for i in range(100_000)}, b""),
    "dimensions": ({str(i): entry(0, 0, [0] * 1000) for i in range(3_000)}, b""),
}


@pytest.fixture(scope="module")
def safe(tmp_path_factory, root) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("safetensors")
    paths = [safetensors_file(folder / f"{name}.safetensors", *content) for name, content in SAFETENSORS.items()]
    return dict(zip(SAFETENSORS, read_each(root, paths), strict=True))


@pytest.mark.parametrize("name", SAFETENSORS)
def test_safetensors(safe, name):
    is_one_line(safe[name], f"{name}.safetensors")


COUNT = 4 * MIB


def legitimate(folder: Path) -> list[Path]:
    """Files of one vector of 16 MiB in every format, half precision (whose widening takes most) where there is one."""
    half = np.linspace(-1, 1, COUNT, dtype=np.float16)
    torch_path = folder / "w.pth"
    torch_of(torch_path, {"w": tensor("BFloat16Storage", "0", COUNT, 0, (COUNT,), (1,))}, {"0": half.tobytes()})
    np.savez(folder / "w.npz", w=half)
    np.savez_compressed(folder / "deflated.npz", w=half)
    safetensors_file(
        folder / "w.safetensors",
        {"w": {"dtype": "BF16", "shape": [COUNT], "data_offsets": [0, 2 * COUNT]}},
        half.tobytes(),
    )
    paths = [folder / name for name in ("w.pth", "w.npz", "deflated.npz", "w.safetensors")]
    for protocol in (2, 4, 5):
        paths.append(folder / f"protocol_{protocol}.pdparams")
        paths[-1].write_bytes(pickle.dumps({"w": half.view(np.uint16)}, protocol))
    return paths


def test_files_of_weights_need_no_more(tmp_path, root):
    paths = legitimate(tmp_path)
    assert read_each(root, paths) == ["read 1"] * len(paths)


# Files of many small things are read, too.
def crowded_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"w": np.ones(2, np.float32), "log": {f"{i}": 0.5 for i in range(100_000)}}))


def crowded_zip(path: Path) -> None:
    np.savez(path, **{str(i): np.ones(1, np.float32) for i in range(5_000)})


def crowded_safetensors(path: Path) -> None:
    safetensors_file(path, {str(i): entry(4 * i, 4 * i + 4, [1]) for i in range(5_000)}, bytes(20_000))


@pytest.mark.parametrize(
    ("name", "make", "count"),
    [("a.pdparams", crowded_pickle, 1), ("a.npz", crowded_zip, 5_000), ("a.safetensors", crowded_safetensors, 5_000)],
)
def test_many_small_things(tmp_path, root, name, make: Callable, count):
    make(tmp_path / name)
    assert read_each(root, [tmp_path / name]) == [f"read {count}"]


def test_random_opcodes(tmp_path, root):
    """Any opcode after any other, with counts and lengths that lie: arrays or one line."""
    rng = np.random.default_rng(0)
    opcodes = [opcode.code.encode("latin1") for opcode in pickletools.opcodes]
    pieces = [
        *opcodes, text("w"), text("latin1"), integers([2]), FLOAT16, UINT16, binary(b"1234"), put(0), get(0), b"q\x00",
        b"h\x00", array(FLOAT16, 2, binary(b"1234")), b"}", b"]", b"(", b"u", b"e", b"t", b"R", b"b", b"\x81", b"K\x01",
        *(f"c{module}\n{name}\n".encode() for module, name in inert_globals(None)),
    ]  # fmt: skip
    paths = []
    for trial in range(400):
        content = b"".join(pieces[i] for i in rng.integers(len(pieces), size=rng.integers(2, 30)))
        paths.append(tmp_path / f"{trial}.pdparams")
        # Half of them begin with the names and values that let more of the rest happen.
        paths[-1].write_bytes(b"\x80\x02" + (b"}(" + text("w") if trial % 2 else b"") + content + b".")
    for path, said in zip(paths, read_each(root, paths), strict=True):
        assert path.name in said or said.startswith("read "), said
        assert "\n" not in said
        assert "MemoryError" not in said
