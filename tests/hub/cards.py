"""The metadata of a model card, as a Hub checks and lists it."""

import re
from typing import Any

import yaml

from .store import Commit

HEADER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


def read_card(commit: Commit) -> dict[str, Any]:
    """Return the metadata in the header of a commit's README.md, or none if it is invalid."""
    readme = commit.tree.get("README.md")
    text = readme.content.decode("utf-8", "replace") if readme else ""
    header = HEADER.match(text)
    if header is None or check_card(text)[0]:
        return {}
    return yaml.safe_load(header[1]) or {}


def check_card(text: str) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings about the metadata of a README.md."""
    header = HEADER.match(text)
    if header is None or not header[1].strip():
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        card = yaml.safe_load(header[1])
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"], []
    if not isinstance(card, dict):
        return ['"value" must be of type object'], []
    errors = []
    licences = card.get("license", [])
    for licence in licences if isinstance(licences, list) else [licences]:
        if not (isinstance(licence, str) and re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence)):
            errors.append(f'"license" must be one of the identifiers of the Hub, not {licence!r}')
    tags = card.get("tags")
    if tags is not None and not (
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    ):
        errors.append('"tags" must be an array of strings')
    return errors + _check_model_index(card), []


def _check_model_index(card: dict[str, Any]) -> list[str]:
    if "model-index" not in card:
        return []
    errors: list[str] = []

    def require(value: Any, place: str, /, **kinds: type | tuple[type, ...]) -> bool:
        if not isinstance(value, dict):
            errors.append(f'"{place}" must be of type object')
            return False
        for key, kind in kinds.items():
            if key not in value:
                errors.append(f'"{place}.{key}" is required')
            elif not isinstance(value[key], kind):
                errors.append(f'"{place}.{key}" has a wrong type')
        return True

    models = card["model-index"]
    if not isinstance(models, list):
        return ['"model-index" must be an array']
    for i, model in enumerate(models):
        place = f"model-index[{i}]"
        if not require(model, place, name=str, results=list):
            continue
        results = model.get("results")
        for j, result in enumerate(results if isinstance(results, list) else []):
            inner = f"{place}.results[{j}]"
            if not require(result, inner, task=dict, dataset=dict, metrics=list):
                continue
            require(result.get("task", {}), f"{inner}.task", type=str)
            require(result.get("dataset", {}), f"{inner}.dataset", name=str, type=str)
            metrics = result.get("metrics")
            for k, metric in enumerate(metrics if isinstance(metrics, list) else []):
                require(metric, f"{inner}.metrics[{k}]", type=str, value=object)
    return errors


def card_tags(card: dict[str, Any]) -> list[str]:
    """Return the tags under which the Hub lists a model."""

    def many(key: str) -> list[str]:
        value = card.get(key) or []
        return [str(item) for item in (value if isinstance(value, list) else [value])]

    tags = many("library_name") + many("tags") + many("pipeline_tag") + many("language")
    tags += [f"dataset:{name}" for name in many("datasets")]
    tags += [f"license:{name}" for name in many("license")] + ["region:us"]
    return list(dict.fromkeys(tags))
