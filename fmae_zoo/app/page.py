"""The page: its tabs, its theme and its style sheet."""

import threading
from typing import Any

import gradio as gr

import fmae_zoo
from fmae_zoo.app import compare, generate, reconstruct, train, walk
from fmae_zoo.app.drawing import script
from fmae_zoo.app.loaded import classifier, loaded

SYSTEM_FONTS = ("system-ui", "sans-serif")
QUIET, QUIET_IN_THE_DARK = "#566071", "#a3acb9"
"""Colours of less important words, which can still be read."""

APPEARANCE: dict[str, Any] = {
    # Fonts of this machine: the themes' own are asked of a server.
    "theme": gr.themes.Default(
        primary_hue="blue", font=SYSTEM_FONTS, font_mono=("ui-monospace", "monospace")
    ).set(
        body_text_color_subdued=QUIET,
        body_text_color_subdued_dark=QUIET_IN_THE_DARK,
        block_info_text_color=QUIET,
        block_info_text_color_dark=QUIET_IN_THE_DARK,
    ),
    "css": script("page.css"),
    "footer_links": [],
    "ssr_mode": False,
}
"""Arguments of `launch`."""


DAY = (86_400, 86_400)
"""Seconds between looks for old files in Gradio's cache, and their age."""


def build() -> gr.Blocks:
    """Return the page, and begin to load the models that it shows first."""
    with gr.Blocks(
        title="fmae_zoo", analytics_enabled=False, fill_width=True, delete_cache=DAY
    ) as page:
        gr.Markdown(f"# fmae_zoo\nAutoencoders for Fashion-MNIST, version {fmae_zoo.__version__}")
        models = []
        for title, tab in (
            ("Reconstruct", reconstruct.tab),
            ("Walk", walk.tab),
            ("Generate", generate.tab),
        ):
            with gr.Tab(title):
                models += tab(page)
        with gr.Tab("Compare"):
            compare.tab(page)
        with gr.Tab("Train"):
            train.tab(page, models)
    threading.Thread(target=_warm_up, daemon=True).start()
    return page


def _warm_up() -> None:
    """Import Keras and load the first models while the page is already served."""
    for name in (reconstruct.FIRST, reconstruct.SECOND):
        loaded(name)
    classifier()
