"""The rendering as a chat template, which engines and trainers read beside `tokenizer.json`.

It says in Jinja what `codeflow.documents.chat.render` says in Python. `{% generation %}` marks what
is trained, so `apply_chat_template(return_assistant_tokens_mask=True)` of transformers gives the
mask; `loss: false` on a message leaves it out. The generation prompt ends with `assistant` and a
line end: the model writes `<think>` itself.

A template makes text, and a tokenizer finds markers in text: a marker that somebody's content
spells becomes the marker there, as in every engine, while it stays text in what is trained on.
"""

from __future__ import annotations

import json
from typing import Final

from codeflow.documents.chat.render import HERMES, QWEN3_CODER, TOOLS_AFTER, TOOLS_BEFORE

_CALL: Final = {
    QWEN3_CODER: """\
    {{- '<tool_call>\\n<function=' + tool_call.name + '>\\n' }}
    {%- for name, value in tool_call.arguments|items %}
      {{- '<parameter=' + name + '>\\n' }}
      {{- value if value is string else value|tojson }}
      {{- '\\n</parameter>\\n' }}
    {%- endfor %}
    {{- '</function>\\n</tool_call>' }}
""",
    HERMES: """\
    {{- '<tool_call>\\n{"name": ' + tool_call.name|tojson + ', "arguments": ' }}
    {{- tool_call.arguments if tool_call.arguments is string else tool_call.arguments|tojson }}
    {{- '}\\n</tool_call>' }}
""",
}

_TEMPLATE: Final = """\
{%- macro reply(message) %}
  {%- set content = message.content or '' %}
  {%- set said = content if message.reasoning_content else content.lstrip() %}
  {%- if message.reasoning_content %}
    {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' + content }}
  {%- elif said %}
    {%- set blank = content[:(content|length) - (said|length)] %}
    {{- blank.replace('\\r', '\\n').rpartition('\\n')[2] + said }}
  {%- endif %}
  {%- for call in message.tool_calls or [] %}
    {%- set tool_call = call.function if call.function is defined else call %}
    {%- if not loop.first or said %}{{ '\\n' }}{% endif %}
CALL
  {%- endfor %}
  {{- '<|im_end|>' }}
{%- endmacro %}
{%- if tools or messages[0].role == 'system' %}
  {{- '<|im_start|>system\\n' }}
  {%- if messages[0].role == 'system' %}
    {{- messages[0].content }}
    {%- if tools and messages[0].content %}{{ '\\n\\n' }}{% endif %}
  {%- endif %}
  {%- if tools %}
    {{- BEFORE }}
    {%- for tool in tools %}{{ '\\n' + tool|tojson }}{% endfor %}
    {{- AFTER }}
  {%- endif %}
  {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'assistant' %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if message.loss is defined and message.loss is false %}
      {{- reply(message) }}
    {%- else %}
      {%- generation %}{{ reply(message) }}{% endgeneration %}
    {%- endif %}
    {{- '\\n' }}
  {%- elif message.role == 'tool' %}
    {%- if loop.previtem is not defined or loop.previtem.role != 'tool' %}
      {{- '<|im_start|>user\\n' }}
    {%- endif %}
    {{- '<tool_response>\\n' + message.content + '\\n</tool_response>' }}
    {%- if loop.nextitem is not defined or loop.nextitem.role != 'tool' %}
      {{- '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
  {%- elif message.role == 'system' %}
    {%- if not loop.first %}
      {{- raise_exception('a system message has to be the first') }}
    {%- endif %}
  {%- else %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


def template(calls: str) -> str:
    """The content of `chat_template.jinja`; `calls` is of `render.CALLS`."""
    text = _TEMPLATE.replace("CALL\n", _CALL[calls])
    text = text.replace("BEFORE", json.dumps(TOOLS_BEFORE))
    return text.replace("AFTER", json.dumps(TOOLS_AFTER[calls]))
