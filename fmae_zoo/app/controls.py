"""What several tabs use: the choice of a model, errors as sentences, the page's own components."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from fmae_zoo.app.drawing import FILM_CSS, FILM_HTML, POINTS_CSS, POINTS_HTML, script
from fmae_zoo.app.loaded import names
from fmae_zoo.errors import FmaeError

IS_PRIVATE = "SPACE_ID" not in os.environ
"""False on a Space, where names of folders and repos would reach the owner's files and token."""


def model_choice(label: str, value: str) -> gr.Dropdown:
    """Return a dropdown of the registry's models; on one's own machine it takes other names."""
    return gr.Dropdown(
        names(),
        value=value,
        label=label,
        info="or local:FOLDER, hf://NAMESPACE/NAME" if IS_PRIVATE else None,
        allow_custom_value=IS_PRIVATE,
        filterable=True,
        min_width=150,
    )


def said(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the zoo's errors shown on the page as one sentence."""

    @wraps(function)
    def shown(*args: Any) -> Any:
        try:
            return function(*args)
        except FmaeError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return shown


def points_view(label: str, **options: Any) -> gr.HTML:
    """Return the component that draws what `drawing.points` returns."""
    return gr.HTML(
        None,
        html_template=POINTS_HTML.format(label=label),
        css_template=POINTS_CSS,
        js_on_load=script("points.js"),
        elem_classes="fmae-plain",
        **options,
    )


def film_view(**options: Any) -> gr.HTML:
    """Return the component that shows what `drawing.film` returns."""
    return gr.HTML(
        None,
        html_template=FILM_HTML,
        css_template=FILM_CSS,
        js_on_load=script("film.js"),
        elem_classes="fmae-plain",
        **options,
    )
