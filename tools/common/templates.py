"""Chat templates in the forms that the models' folders have."""

# A turn's pictures, then its words.
PARTS = "{% for content in message['content'] | selectattr('type', 'equalto', KIND) %}{{ SHOWN }}{% endfor %}"
IMAGES = PARTS.replace("KIND", "'image'").replace("SHOWN", "'<image>\\n'")
WORDS = PARTS.replace("KIND", "'text'").replace("SHOWN", "content['text']SPACE")

USER_ASSISTANT = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}" + IMAGES + WORDS.replace("SPACE", " + ' '")
    + "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
INSTRUCTIONS = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}" + IMAGES
    + WORDS.replace("SPACE", "") + "{{ ' [/INST]' }}{% else %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}"
    "{% endif %}{% endfor %}"
)
