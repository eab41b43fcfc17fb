"""Chat templates as the models' folders on the hub have them, but for the words of comments and errors.

Line ends in literals are no escapes: the JSON of those files has the escape, and so the template a real line end.
"""


def parts(kind: str, shown: str) -> str:
    """A turn's pictures, or its words."""
    return (
        f"{{% for content in message['content'] | selectattr('type', 'equalto', '{kind}') %}}"
        f"{shown}{{% endfor %}}"
    )


IMAGES = "{# pictures first #}" + parts("image", "{{ '<image>\n' }}")
USER_ASSISTANT = (
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    + IMAGES + "{# then the words #}{% if message['role'] != 'assistant' %}"
    + parts("text", "{{ content['text'] + ' '}}") + "{% else %}"
    + parts("text", "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}")
    + "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
INSTRUCTIONS = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '<<SYS>>\n' + message['content'][0]['text'] + '\n<</SYS>>\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' }}" + IMAGES + "{# then the words #}"
    + parts("text", "{{ content['text'] }}") + "{{' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' ' + message['content'][0]['text'] + '<\\s> '}}{% else %}"
    "{{ raise_exception('users and assistants take turns') }}{% endif %}{% endfor %}"
)
