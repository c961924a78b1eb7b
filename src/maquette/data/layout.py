"""What the names of files say: which split each belongs to, and the class that its folder names.

The convention is that of ImageFolder: train/ and test/ (or validation/), then a folder for each class. What people
call these folders, what they wrap around them and what lies beside them differs. Where a name can be read either way,
that is asked and not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from maquette.core.errors import UserError
from maquette.data.names import some

SPLITS = {
    "train": "train", "training": "train", "trainval": "train",
    "test": "test", "testing": "test", "holdout": "test",
    "val": "val", "valid": "val", "validation": "val", "dev": "val", "eval": "val", "evaluation": "val",
}  # fmt: skip
UNLABELLED = ("unlabeled", "unlabelled", "unsup", "extra", "pred", "predict")  # beside splits they are none
NAMELESS = UNLABELLED[:3]  # beside class folders they hold what has no class
CONTAINERS = {"data", "files", "items", "img", "imgs", "samples"}  # folders of these names hold things and name none
NEUTRAL = CONTAINERS | {"set", "dataset", "split", "part", "folder"}  # what the name of a split may say besides
MOST_SPLITS = 20  # of more names, only what they are for tells splits apart: test_0001, test_0002, ...
FEW = 0.05  # share of the files that may lie astray without raising a doubt

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass
class Layout:
    """What the names of N files say.

    splits:  of each file, in the words of its name; None: it names none
    classes: of each file; None where folders are no classes
    outside: of files that lie outside of all split or class folders: why they cannot be used
    """

    splits: list[str | None]
    classes: list[str | None] | None = None
    outside: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def layout(
    names: Sequence[str], items: str, classes: bool = True, listed: bool = False, splits: str = "auto",
    containers: Iterable[str] = (),
) -> Layout:  # fmt: skip
    """What the names of files say.

    items: what they are, for people: "sounds"; classes: whether folders may name classes; listed: whether a table lists
    the files, so that a single folder is not taken for a class; splits: "auto", or whether folders that are called
    like splits are some ("folders") or not ("none"); containers: further names of folders that are no classes, such
    as "sounds". Raises UserError where folders may be splits or classes.
    """
    called = {word.lower() for word in containers}
    rows: dict[str, list[int]] = {}  # the files of each folder, which mean the same: there are fewer folders
    for i, name in enumerate(names):
        rows.setdefault(name.rpartition("/")[0], []).append(i)
    files = [[names[i].rpartition("/")[2] for i in its] for its in rows.values()]
    found = _Splits([f"{folder}/".lstrip("/").split("/") for folder in rows], files, splits, NEUTRAL | called)
    of = Layout(found.words, outside=found.outside, notes=found.notes)
    if classes:
        _take_classes(of, found.rests, found.sizes, items, listed, CONTAINERS | called)
    made = Layout([None] * len(names), None if of.classes is None else [None] * len(names), notes=of.notes)
    for k, its in enumerate(rows.values()):
        for i, word in zip(its, found.apart.get(k, [of.splits[k]] * len(its)), strict=True):
            made.splits[i] = word
            if made.classes is not None and of.classes is not None:
                made.classes[i] = of.classes[k]
            if k in of.outside:
                made.outside[i] = of.outside[k]
    return made


def role(stem: str) -> str:
    """What a split is for, by the word its name begins with: "train", "val", "test", or "" for a further one."""
    lower = stem.lower()
    first = next(_WORD.finditer(stem), None)
    return SPLITS.get(lower) or (_role_of(first.group()) if first and first.start() == 0 else "")


def _split_of(name: str) -> str:
    """The split that a file belongs to, of its name without suffixes: train, train/part-0, 2016/train -> train."""
    stem = name.rpartition("/")[2]
    return stem if role(stem) or "/" not in name else name.partition("/")[0]


def splits_of(names: Iterable[str]) -> list[str]:
    """The same of several, side by side: seg_train beside seg_test is train."""
    found = [_split_of(name) for name in names]
    known = roles(dict.fromkeys(found))
    return [name if role(name) or name not in known else known[name][0] for name in found]


def roles(names: Iterable[str], neutral: Set[str] = NEUTRAL) -> dict[str, tuple[str, str]]:
    """(role, rest) of each of these names, side by side, that may be a split's: trainA -> ("train", "A").

    neutral: words that say nothing. A rest of other words counts only where a name of another role has the same:
    train_station alone is no split.
    """
    found = {name: read for name in names if (read := _role_and_rest(name, neutral))}
    by_rest: dict[str, set[str]] = {}
    for kind, rest in found.values():
        by_rest.setdefault(rest.lower(), set()).add(kind)
    return {name: (kind, rest) for name, (kind, rest) in found.items()
            if not rest or rest[0].isdigit() or len(by_rest[rest.lower()]) > 1}  # fmt: skip


def _role_of(word: str) -> str:
    """The role of one word: train, TEST, Valid, trainset."""
    lower = word.lower()
    return SPLITS.get(lower) or SPLITS.get(lower.removesuffix("set").removesuffix("data"), "")


def _role_and_rest(name: str, neutral: Set[str] = NEUTRAL) -> tuple[str, str] | None:
    """The one role that the words of a name speak of, and what else it says: seg_train -> ("train", "seg")."""
    spoken = [(kind, word) for word in _WORD.finditer(name) if (kind := _role_of(word.group()))]
    if len(spoken) != 1:
        return None
    ((kind, word),) = spoken
    others = re.findall(r"[^\W\d_]+|\d+", name[: word.start()] + " " + name[word.end() :])
    return kind, " ".join(other for other in others if other.lower() not in neutral)


class _Splits:
    """The splits of folders of files: `words` of each folder, the `rests` of its path below a split, and what lies
    `outside` of all. Of files that are called after splits themselves: the words of each, `apart`.

    paths: of the folders, as their parts, and "" for the file; files: what those in it are called
    """

    def __init__(
        self, paths: Sequence[Sequence[str]], files: Sequence[Sequence[str]], how: str, neutral: Set[str]
    ) -> None:
        self.paths, self.files, self.how, self.neutral = paths, files, how, neutral
        self.sizes = [len(names) for names in files]
        self.apart: dict[int, list[str]] = {}
        self.words: list[str | None] = [None] * len(paths)
        self.rests = [*paths]
        self.outside: dict[int, str] = {}
        self.notes: list[str] = []
        self._placed: set[int] = set()
        if how != "none" and self._search(range(len(paths)), 0):
            self.outside = {i: "outside the split folders" for i in range(len(paths)) if i not in self._placed}
            self._unwrap()

    def _search(self, rows: Sequence[int], depth: int) -> bool:
        """Whether splits stand at this depth or below it; the rows that are in them are then placed."""
        folders = _folders(self.paths, rows, depth)
        known = roles(folders, self.neutral)
        if not folders:
            return self._called(rows)
        if known and (words := self._decided(folders, known, self._count(rows), depth)) is not None:
            self._place(folders, words, depth)
            return True
        within = {name: roles(_folders(self.paths, its, depth + 1), self.neutral) for name, its in folders.items()}
        holders = [name for name, inner in within.items() if _held_out(inner) and _roles(inner) & {"train"}]
        most = (1 - FEW) * self._count(rows)
        if holders and self.how == "auto" and sum(self._count(folders[name]) for name in holders) < most:
            raise _doubt_within(holders, within[holders[0]], [name for name in folders if name not in holders])
        if len(holders) > 1:  # cats/train, cats/test, dogs/train, ...
            for name in holders:
                words = {inner: _word(inner, within[name]) for inner in within[name]}
                self._place(_folders(self.paths, folders[name], depth + 1), words, depth + 1, [name])
            self._say(word for name in holders for word in within[name])
            return True
        largest = max(holders or folders, key=lambda name: self._count(folders[name]))
        if holders or self._count(folders[largest]) >= (most if len(folders) > 1 else self._count(rows) / 2):
            return self._search(folders[largest], depth + 1)
        return False

    def _count(self, rows: Iterable[int]) -> int:
        return sum(self.sizes[i] for i in rows)

    def _called(self, rows: Sequence[int]) -> bool:
        """Files of one folder that are called after splits themselves: train.x, test.x."""
        for i in rows:
            words = splits_of(name.partition(".")[0] for name in self.files[i])
            known = {word: role(word) for word in dict.fromkeys(words)}
            if not all(known.values()) or len({*known.values()}) < 2:
                return False
            self.apart[i] = [known[word] for word in words] if len(known) > MOST_SPLITS else words
            self._put(i, None, [""])
        return bool(rows)

    def _decided(
        self, folders: Mapping[str, Sequence[int]], known: Mapping[str, tuple[str, str]], total: int, depth: int
    ) -> dict[str, str | None] | None:
        """The split of each folder that is one, None for a class that is learned from; None: they are no splits.

        folders: side by side, with their rows; known: the role of those that are called like splits; total: rows of
        this level, the stray ones included
        """
        beside = [name for name in folders if name not in known and not _means(name, UNLABELLED)]
        if sum(self._count(folders[name]) for name in beside) <= FEW * total:
            beside = []
        found, held = _roles(known), _held_out(known)
        below = {name: {*_folders(self.paths, its, depth + 1)} for name, its in folders.items()}
        words: dict[str, str | None] = {name: _word(name, known) for name in known}
        if self.how == "folders":
            settled, learned = True, beside if "train" not in found else []
        elif "train" in found and held:
            of = {kind: set().union(*(below[name] for name in known if known[name][0] == kind)) for kind in found}
            settled, learned = len(beside) < 2 or bool(of["train"] & (of.get("test", set()) | of.get("val", set()))), []
        elif held:  # without train: what lies beside is learned from, where it holds the same or is called the same
            same = set().union(*(below[name] for name in known))
            settled = bool(same & {*beside}) or (bool(beside) and all(same & below[name] for name in beside))
            learned = beside
            if len(folders) == 1:
                self.notes.append(f"{some(known)} is the only folder: what is in it is learned from.")
                return None
            settled = settled or len(folders) == len(known)  # of which nothing is left to learn from
        else:
            within = set().union(*(below[name] for name in known))
            if len(folders) == len(known):
                return None  # train alone merely wraps what it holds
            if beside and (len(within) < 2 or any(below[name] for name in beside)):
                called = f"{some(known)} {'is a class' if len(known) == 1 else 'are classes'}"
                self.notes.append(f"{called}, like {some(beside)}: no folder beside is called test.")
                return None
            settled, learned = not beside, []
        if not settled:
            raise _doubt([*known], beside or [name for name in folders if name not in known], "train" in found)
        self._say(known)
        if learned:
            classes = any(set().union(*(below[name] for name in known)) & {*beside}) or len(learned) > 1
            return words | dict.fromkeys(learned, None if classes else "train")
        return words

    def _place(
        self, folders: Mapping[str, Sequence[int]], words: Mapping[str, str | None], depth: int,
        above: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """The rows of split folders at this depth; a folder whose word is None is a class that is learned from."""
        known = roles([name for name, word in words.items() if word is not None], self.neutral)
        # trainA, trainB, testA: what the names say beyond their role tells classes apart
        classes = {rest for _, rest in known.values()}
        told = len(classes) > 1 and all(rest and not rest[0].isdigit() for rest in classes)
        for name, word in words.items():
            for i in folders[name]:
                path = self.paths[i]
                if word is None:
                    self._put(i, None, path[depth:])
                elif told:
                    self._put(i, known[name][0], [known[name][1], path[-1]])
                else:
                    self._put(i, word, [*above, *path[depth + 1 :]])

    def _put(self, i: int, word: str | None, rest: Sequence[str]) -> None:
        self.words[i], self.rests[i] = word, rest
        self._placed.add(i)

    def _unwrap(self) -> None:
        """Folders that repeat the name of their split: train/train/, seg_test/seg_test/, test/Test_Images/."""
        by_word: dict[str | None, list[int]] = {}
        for i in sorted(self._placed):
            by_word.setdefault(self.words[i], []).append(i)
        for word, rows in by_word.items():
            while word is not None:
                tops = {self.rests[i][0] if len(self.rests[i]) > 1 else "" for i in rows}
                again = _role_and_rest(next(iter(tops)), self.neutral) if len(tops) == 1 else None
                if again is None or again[0] != (_role_and_rest(word, self.neutral) or (role(word),))[0]:
                    break
                for i in rows:
                    self.rests[i] = self.rests[i][1:]

    def _say(self, known: Iterable[str]) -> None:
        names = [*dict.fromkeys(known)]
        are, them = ("is read as a split", "it a class") if len(names) == 1 else ("are read as splits", "them classes")
        self.notes.append(f"{some(names, 6)} {are}, by the name (data.splits=none makes {them}).")


def _doubt(known: list[str], beside: list[str], trained: bool) -> UserError:
    """Folders that may be splits or classes. trained: whether one of them is called train"""
    called, others = some(known), some(beside)
    if trained:
        reading = f"makes splits of {called} and leaves {others} out"
    else:
        reading = f"learns from {others} and not from {called}"
    kind, them = ("a split or a class", "it a class") if len(known) == 1 else ("splits or classes", "them classes")
    return UserError(
        f"{called} beside {others} may be {kind}.",
        f"Say which: data.splits=folders {reading}; data.splits=none makes {them} like {others}.",
    )


def _doubt_within(holders: list[str], known: Iterable[str], beside: list[str]) -> UserError:
    """Folders some of which hold splits, and others none."""
    holding, others = some(holders), some(beside)
    are = "holds" if len(holders) == 1 else "hold"
    return UserError(
        f"{holding} {are} splits ({some(known)}), and {others} beside {'it' if len(holders) == 1 else 'them'} none.",
        f"Say what is meant: data.splits=folders leaves {others} out; data.splits=none makes classes of all of them.",
    )


def _folders(paths: Sequence[Sequence[str]], rows: Iterable[int], depth: int) -> dict[str, list[int]]:
    """Folder at this depth -> the rows below it."""
    found: dict[str, list[int]] = {}
    for i in rows:
        if len(paths[i]) > depth + 1:
            found.setdefault(paths[i][depth], []).append(i)
    return found


def _roles(known: Mapping[str, tuple[str, str]]) -> set[str]:
    return {kind for kind, _ in known.values()}


def _held_out(known: Mapping[str, tuple[str, str]]) -> set[str]:
    return _roles(known) & {"test", "val"}


def _word(name: str, known: Mapping[str, tuple[str, str]]) -> str:
    """What the split of a folder is called: its own name, where that alone says what it is for."""
    return name if role(name) and len(known) <= MOST_SPLITS else known[name][0]


def _means(name: str, words: Sequence[str]) -> bool:
    return any(word.group().lower() in words for word in _WORD.finditer(name))


def _take_classes(
    made: Layout, rests: Sequence[Sequence[str]], sizes: Sequence[int], items: str, listed: bool, containers: set[str]
) -> None:
    """Class folder of each path that is in a split, or of all where there are none; and what lies outside of them.

    sizes: how many files each path stands for
    """

    def count(paths: Iterable[int]) -> int:
        return sum(sizes[i] for i in paths)

    rows = [i for i in range(len(rests)) if i not in made.outside]
    paths = {i: rests[i] for i in rows}
    while True:  # folders that merely wrap everything, as archives like to have on top; a stray file is no matter
        deeper = [i for i, path in paths.items() if len(path) > 1]
        tops = {paths[i][0] for i in deeper}
        if len(tops) != 1:
            break
        (top,) = tops
        bare = top.lower() in containers or (not any(made.splits) and _role_and_rest(top) in _BARE)
        deep = 2 * count(i for i in deeper if len(paths[i]) > 2) > count(deeper)
        if 2 * count(deeper) <= count(paths) or not (deep or bare):
            break
        paths |= {i: paths[i][1:] for i in deeper}
    inside = {i: path[0] for i, path in paths.items() if len(path) > 1}
    kinds = len({*inside.values()})
    if not inside or (listed and kinds < 2):
        return
    without = sorted({made.splits[i] or "" for i in rows} - {made.splits[i] or "" for i in inside} - {""})
    if listed and without:
        made.notes.append(f"Folders are no classes: {some(without)} has none, and a table says more.")
        return
    within, of = count(inside), count(i for i in rows if made.splits[i] not in without)
    if 2 * within <= of:
        made.notes.append(f"{within:,} of {of:,} {items} lie in sub-folders: these are not classes.")
        return
    if kinds > 2 and 2 * kinds > within:
        made.notes.append(f"{kinds:,} sub-folders for {within:,} {items}: these are not taken as classes.")
        return
    if without:
        made.notes.append(f"{some(without)} has no class folders, unlike what is learned from: left out.")
    if any(len(path) > 2 for path in paths.values()):
        made.notes.append("Folders inside the class folders do not count: the first folder names the class.")
    nameless = {name for name in inside.values() if name.lower() in NAMELESS} if kinds > 2 else set()
    if nameless:
        made.notes.append(f"{some(sorted(nameless))} is no class: what lies in it has none.")
    made.classes = [None if (name := inside.get(i)) in nameless else name for i in range(len(rests))]
    made.outside |= {i: "outside the class folders" for i in rows if i not in inside}


_BARE = {(kind, "") for kind in SPLITS.values()}  # of a folder that is called a split and nothing else
