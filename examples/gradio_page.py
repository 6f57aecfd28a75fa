"""A page with Gradio, in ten lines: pip install gradio, then python gradio_page.py"""

import gradio

from humanparse import HumanParser

parser = HumanParser()
page = gradio.Interface(
    lambda photo: parser.parse(photo).overlay(), gradio.Image(type="numpy"), gradio.Image()
)
if __name__ == "__main__":
    page.launch()
