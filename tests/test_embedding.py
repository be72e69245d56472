import numpy as np

from fmae_zoo import embedding


def test_names_of_any_length_and_characters_come_back_beside_their_codes(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "NAMES_AT_ONCE", 2)
    names = [["a.png", "über\nzwei Zeilen.npy[12]", ""], ["日本" * 40]]
    batches = [np.full((len(part), 3), number, "float32") for number, part in enumerate(names)]
    output = tmp_path / "new folder" / "codes.npz"
    assert embedding._write_npz(iter(zip(names, batches)), output) == 4
    with np.load(output) as content:
        assert content["names"].tolist() == [*names[0], *names[1]]
        np.testing.assert_array_equal(content["codes"], np.concatenate(batches))
    assert [path.name for path in output.parent.iterdir()] == ["codes.npz"]
