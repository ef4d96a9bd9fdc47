"""pygd2fs.safetensors: checkpoints as they lie on the hub, loaded into torch tensors."""

import importlib
import json

import pytest
import torch
from conftest import pattern
from safetensors.torch import save_file

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


@pytest.fixture
def module(gd2fs):
    return importlib.import_module(f"{gd2fs.__name__}.safetensors")


def random_tensor(shape, dtype, seed):
    count = torch.Size(shape).numel()
    raw = torch.from_numpy(pattern(count * dtype.itemsize, seed).copy())
    if dtype == torch.bool:
        raw &= 1
    return raw.view(dtype).reshape(shape)


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def assert_same(loaded, expected):
    assert set(loaded) == set(expected)
    for name, tensor in expected.items():
        assert loaded[name].shape == tensor.shape and loaded[name].dtype == tensor.dtype, name
        assert torch.equal(raw(loaded[name]), raw(tensor)), name


def put(client, path, file):
    client.write_from(path, file.read_bytes())


@pytest.fixture
def tensors():
    tensors = {
        f"layers.{i}.{str(dtype).removeprefix('torch.')}": random_tensor((3, 5 + i), dtype, i)
        for i, dtype in enumerate(DTYPES)
    }
    tensors["empty"] = torch.zeros(0, 7)
    tensors["scalar"] = random_tensor((), torch.float32, 50)
    tensors["large"] = random_tensor((1000, 1001), torch.bfloat16, 51)
    return tensors


@pytest.fixture
def checkpoint(client, folder, tensors, tmp_path):
    """One file with a tensor of every kind."""
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    put(client, f"{folder}/model.safetensors", tmp_path / "model.safetensors")
    return folder


def test_every_tensor_of_a_file_is_loaded_bit_for_bit(client, module, checkpoint, tensors):
    moved = []
    assert_same(module.load_checkpoint(client, checkpoint, progress=moved.append), tensors)
    assert sum(moved) > 2_000_000


def test_only_the_tensors_asked_for_are_loaded(client, module, checkpoint, tensors):
    names = {"scalar", "layers.3.bfloat16"}
    moved = []
    loaded = module.load_file(client, f"{checkpoint}/model.safetensors", names, moved.append)
    assert_same(loaded, {name: tensors[name] for name in names})
    assert sum(moved) < 1_000_000


def test_tensors_outlive_the_client(stack, module, client, checkpoint, tensors):
    with stack.connect() as other:
        loaded = module.load_checkpoint(other, checkpoint)
    assert_same(loaded, tensors)
    loaded["large"].zero_()  # the memory is the tensors' own


def test_a_file_larger_than_one_request(client, module, checkpoint, tensors, monkeypatch):
    monkeypatch.setattr(module, "REQUEST_BYTES", 100_003)
    assert_same(module.load_checkpoint(client, checkpoint), tensors)


def test_a_program_waits_for_its_own_requests_meanwhile(gd2fs, client, module, checkpoint, tensors, memory):
    own = {client.Read(f"{checkpoint}/model.safetensors", 0, [memory.sge(0, 8)], 0, "") for _ in range(50)}
    assert_same(module.load_checkpoint(client, checkpoint), tensors)
    while own:
        own -= set(client.Wait(-1))


def test_shards_are_found_through_their_index(client, module, folder, tensors, tmp_path):
    weight_map = {}
    names = sorted(tensors)
    for number, part in enumerate([names[:6], names[6:]]):
        shard = f"model-{number}.safetensors"
        save_file({name: tensors[name] for name in part}, tmp_path / shard)
        put(client, f"{folder}/{shard}", tmp_path / shard)
        weight_map |= dict.fromkeys(part, shard)
    index = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    client.write_from(f"{folder}/model.safetensors.index.json", index)
    assert_same(module.load_checkpoint(client, folder), tensors)
    assert_same(module.load_checkpoint(client, folder, {names[0], names[-1]}), {n: tensors[n] for n in (names[0], names[-1])})
    client.Unlink(f"{folder}/model-1.safetensors")
    with pytest.raises(module.CheckpointError, match="model-1.safetensors"):
        module.load_checkpoint(client, folder)


def test_a_folder_without_a_checkpoint_says_so(client, module, folder):
    with pytest.raises(module.CheckpointError, match="neither"):
        module.load_checkpoint(client, folder)
    with pytest.raises(FileNotFoundError):
        module.load_checkpoint(client, f"{folder}/none")
    with pytest.raises(FileNotFoundError):
        module.load_file(client, f"{folder}/none.safetensors")


def header(entries):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content, match",
    [
        (b"", "too few"),
        (b"1234567", "too few"),
        ((1 << 60).to_bytes(8, "little") + b"{}", "cannot be right"),
        ((3).to_bytes(8, "little") + b"{}", "cannot be right"),
        ((4).to_bytes(8, "little") + b"\xff\xfe{}", "no JSON"),
        (header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}) + bytes(15), "outside"),
        (header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [8, 0]}}) + bytes(16), "outside"),
        (header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [-1, 16]}}) + bytes(16), "outside"),
        (header({"a": {"dtype": "X9", "shape": [4], "data_offsets": [0, 16]}}) + bytes(16), "unknown dtype"),
    ],
)
def test_a_damaged_file_is_refused_in_words(client, module, folder, content, match):
    path = f"{folder}/model.safetensors"
    client.Create(path)
    client.write_from(path, content)
    with pytest.raises(module.CheckpointError, match=match) as failure:
        module.load_file(client, path)
    assert path in str(failure.value)
