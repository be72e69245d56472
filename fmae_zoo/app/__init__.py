"""`fmae app`: a page in the browser to look at, compare and train models of the zoo."""

from fmae_zoo._backend import require_backend
from fmae_zoo.extras import needed

HOST = "127.0.0.1"
PORT = 7860


def launch(host: str | None = None, port: int | None = None, *, open_browser: bool = False) -> None:
    """Serve the page until the process is stopped.

    Args:
        host: Address to listen on; None is what `GRADIO_SERVER_NAME` says, as in a Space, else
            127.0.0.1, which only this machine reaches.
        port: Port to listen on; None is what `GRADIO_SERVER_PORT` says, else the first free one
            from 7860.
        open_browser: Whether to open the page in a browser.

    Raises:
        ArgumentError: Gradio is not installed.
        BackendError: No Keras backend is installed.
        OSError: The port is in use.
    """
    require_backend()
    needed("gradio", "app")
    from fmae_zoo.app.page import APPEARANCE, build

    build().launch(
        server_name=host,
        server_port=port,
        inbrowser=open_browser,
        share=False,
        **APPEARANCE,
    )
