"""The scenes of the five domains: each drawing function returns the picture or frames, what is in it
(`facts`: a class number per name, -1 where the question makes no sense), and what can be asked."""

import random
from dataclasses import dataclass, field

from PIL import Image, ImageDraw

from .drawing import COLOURS, grain, near, shape, text_width, write


@dataclass
class Asked:
    """A question with its answer. `kind` names the group it is scored with, `type` is what the data
    set's own files call it. For `med` the answer is a letter and `choices` are the four texts."""
    kind: str
    question: str
    answer: str
    type: str = ""
    choices: list[str] = field(default_factory=list)


@dataclass
class Scene:
    frames: list[Image.Image]
    facts: dict[str, int]
    asked: list[Asked]

    def picture(self) -> Image.Image:
        """The frames side by side, as the official loader joins them."""
        if len(self.frames) == 1:
            return self.frames[0]
        joined = Image.new("RGB", (sum(f.width for f in self.frames), self.frames[0].height))
        x = 0
        for frame in self.frames:
            joined.paste(frame, (x, 0))
            x += frame.width
        return joined


def yes(condition: bool) -> str:
    return "yes" if condition else "no"


# Driving scenes ---------------------------------------------------------------------------------

LIGHTS = ["red", "yellow", "green"]
ACTIONS = {"red": "stop", "yellow": "slow down", "green": "go"}
CARS = ["red", "blue", "yellow", "white", "black"]
SIDES = ["left", "right", "nowhere"]


def driving(r: random.Random) -> Scene:
    """Three frames from a car: light, car ahead, pedestrian, cones, day or night."""
    light, car, side = r.randrange(3), r.randrange(5), r.randrange(3)
    closer, night, cones = r.randrange(2), r.randrange(2), r.randrange(4)
    sizes = [16, 25, 34] if closer else [34, 25, 16]
    horizon, shift = r.randint(24, 28), r.randint(-2, 2)
    sky = near((24, 26, 66) if night else (150, 195, 240), 8, r)
    ground = near((38, 48, 44) if night else (120, 155, 95), 8, r)
    road = near((62, 62, 70) if night else (120, 120, 125), 6, r)
    walker_y, cone_slots = r.randint(26, 30), sorted(r.sample(range(4), cones))
    houses = [(r.randrange(0, 40), r.randrange(6, 12), r.randrange(5, 12)) for _ in range(2)]
    frames = []
    for number, width in enumerate(sizes):
        frame = Image.new("RGB", (64, 64), sky)
        draw = ImageDraw.Draw(frame)
        for x, w, h in houses:
            draw.rectangle([x, horizon - h, x + w, horizon], fill=near(ground, 3, r))
        draw.rectangle([0, horizon, 64, 64], fill=ground)
        draw.polygon([(26 + shift, horizon), (38 + shift, horizon), (74, 64), (-10, 64)], fill=road)
        for y in (50, 58):
            draw.rectangle([31, y - number, 32, y + 3 - number], fill=(230, 230, 220))
        height = width * 3 // 4
        x, y = 32 + shift - width // 2, horizon + 1 + width // 8
        body = COLOURS[CARS[car]]
        draw.rectangle([x, y, x + width, y + height - 3], fill=body)
        draw.rectangle([x + width // 5, y + 2, x + width - width // 5, y + height // 3], fill=(125, 150, 165))
        for wheel in (x + 1, x + width - 4):
            draw.rectangle([wheel, y + height - 3, wheel + 3, y + height], fill=(5, 5, 5))
        if side < 2:
            wx = (6 if side == 0 else 57) + r.randint(-1, 1)
            draw.ellipse([wx - 3, walker_y - 1, wx + 3, walker_y + 5], fill=(240, 190, 160))
            draw.rectangle([wx - 4, walker_y + 5, wx + 4, walker_y + 14], fill=(225, 40, 190))
            draw.rectangle([wx - 3, walker_y + 15, wx + 3, walker_y + 21], fill=(60, 30, 90))
        for slot in cone_slots:
            cx = 9 + 15 * slot
            draw.polygon([(cx, 50), (cx + 6, 62), (cx - 6, 62)], fill=(255, 125, 0))
        draw.rectangle([43, 1, 54, 21], fill=(12, 12, 12))
        for i in range(3):
            draw.ellipse([45, 2 + 6 * i, 52, 8 + 6 * i], fill=(48, 48, 48))
        draw.ellipse([44, 1 + 6 * light, 53, 9 + 6 * light],
                     fill=((255, 40, 30), (255, 225, 40), (40, 240, 90))[light])
        frames.append(grain(frame, r, 3))
    pick = r.choice
    return Scene(frames, {
        "light": light, "car": car, "side": side, "closer": closer, "night": night, "cones": cones,
    }, [
        Asked("light", pick(["What is the color of the traffic light?", "Which color does the traffic light show?"]),
              LIGHTS[light]),
        Asked("car", pick(["What color is the car ahead?", "What is the color of the vehicle in front of us?"]),
              CARS[car]),
        Asked("side", pick(["Where is the pedestrian?", "On which side is the pedestrian?"]), SIDES[side]),
        Asked("motion", pick(["Is the car ahead getting closer?", "Are we approaching the car ahead?"]), yes(closer)),
        Asked("time", pick(["Is it day or night?", "What time of day is it?"]), "night" if night else "day"),
        Asked("cones", pick(["How many cones are on the road?", "What is the number of cones?"]), str(cones)),
        Asked("action", "What should the ego vehicle do at the traffic light?", ACTIONS[LIGHTS[light]]),
    ])


# Medical scans ----------------------------------------------------------------------------------

SCANS = ["CT", "MRI", "X-ray", "ultrasound"]
LESIONS = ["round", "square", "triangle", "cross"]
QUARTERS = ["upper left", "upper right", "lower left", "lower right"]


def choose(kind: str, question: str, options: list[str], right: int) -> Asked:
    """A question with four lettered choices, always listed in the same order."""
    choices = [f"{letter}: {option}" for letter, option in zip("ABCD", options)]
    return Asked(kind, question, "ABCD"[right], choices=choices)


def medical(r: random.Random) -> Scene:
    """A grey scan of one of four kinds with none to three bright lesions and a yellow arrow."""
    scan, count, look, quarter = (r.randrange(4) for _ in range(4))
    frame = Image.new("RGB", (80, 80), (6, 6, 6))
    draw = ImageDraw.Draw(frame)
    x, y = r.randint(38, 42), r.randint(38, 42)

    def ellipse(a, b, w, h, grey):
        grey += r.randint(-8, 8)
        draw.ellipse([a - w, b - h, a + w, b + h], fill=(grey, grey, grey))

    if scan == 0:  # a slice of a chest: bright rim, two dark lungs
        ellipse(x, y, 37, 31, 190)
        ellipse(x, y, 33, 27, 95)
        ellipse(x - 16, y, 12, 19, 30)
        ellipse(x + 16, y, 12, 19, 30)
    elif scan == 1:  # a head: rim, grey matter in folds
        ellipse(x, y, 30, 37, 60)
        ellipse(x, y, 27, 34, 140)
        for i in range(-3, 4):
            draw.arc([x - 26, y - 5 + 9 * i, x + 26, y + 9 + 9 * i], 0, 180, fill=(80, 80, 80), width=2)
        draw.line([x, y - 33, x, y + 33], fill=(50, 50, 50), width=2)
    elif scan == 2:  # ribs from the front
        draw.rectangle([0, 0, 80, 80], fill=(50, 50, 50))
        draw.rectangle([x - 4, 0, x + 4, 80], fill=(165, 165, 165))
        for i in range(5):
            for sign in (-1, 1):
                draw.line([x, 8 + 15 * i, x + sign * 36, 16 + 15 * i], fill=(125, 125, 125), width=4)
    else:  # a fan of echoes
        draw.pieslice([x - 70, -66, x + 70, 76], 55, 125, fill=(90, 90, 90))
        for i in range(4):
            draw.arc([x - 60 + 12 * i, -56 + 12 * i, x + 60 - 12 * i, 66 - 12 * i], 55, 125,
                     fill=(130, 130, 130), width=3)
    frame = grain(frame, r, 10 if scan == 3 else 4)
    draw = ImageDraw.Draw(frame)
    for cx, cy in r.sample([(40, 22), (22, 44), (58, 44), (40, 60)], count):
        cx, cy = cx + r.randint(-2, 2), cy + r.randint(-2, 2)
        shape(draw, "circle", cx, cy, 11, (20, 20, 20))
        shape(draw, LESIONS[look], cx, cy, 8, (250, 250, 250))
    ax, ay = (7 if quarter % 2 == 0 else 73), (7 if quarter < 2 else 73)
    sx, sy = (1 if quarter % 2 == 0 else -1), (1 if quarter < 2 else -1)
    draw.polygon([(ax + 6 * sx, ay + 6 * sy), (ax - 7 * sx, ay + 5 * sy), (ax + 5 * sx, ay - 7 * sy)],
                 fill=(250, 220, 30))
    asked = [
        choose("scan", r.choice(["What kind of scan is shown?", "Which modality is this picture?"]), SCANS, scan),
        choose("count", r.choice(["How many lesions are seen?", "What is the number of bright lesions?"]),
               ["none", "one", "two", "three"], count),
        choose("arrow", r.choice(["Where is the yellow arrow?", "In which quarter is the arrow?"]),
               QUARTERS, quarter),
    ]
    if count:
        asked.append(choose("shape", r.choice(["What is the shape of the lesions?", "Which shape has the lesion?"]),
                            LESIONS, look))
    return Scene([frame], {"scan": scan, "count": count, "look": look if count else -1, "quarter": quarter}, asked)


# Aerial views -----------------------------------------------------------------------------------

AREAS = ["0m2", "50m2", "500m2", "5000m2"]


def aerial(r: random.Random) -> Scene:
    """Fields from above: buildings, trees, a road or none, a lake of three sizes or none."""
    buildings, trees, road = r.randrange(5), r.randrange(4), r.randrange(2)
    lake = r.choice([0, 0, 1, 2, 3])  # presence and area share it
    frame = Image.new("RGB", (80, 80))
    draw = ImageDraw.Draw(frame)
    base = near((150, 165, 95), 10, r)
    for i in range(5):
        for j in range(5):
            draw.rectangle([16 * i, 16 * j, 16 * i + 15, 16 * j + 15], fill=near(base, 12, r))
    cells = {(i, j) for i in range(5) for j in range(5)}
    if lake:
        right, low = r.randrange(2), r.randrange(2)
        n = lake
        columns = range(5 - n, 5) if right else range(n)
        rows = range(5 - n, 5) if low else range(n)
        left, top = 16 * columns[0], 16 * rows[0]
        draw.ellipse([left, top, left + 16 * n - 1, top + 16 * n - 1], fill=near((40, 85, 160), 8, r))
        cells -= {(i, j) for i in columns for j in rows}
    if road:
        across = r.randrange(2)
        free = [k for k in range(5) if sum((k, m) in cells if not across else (m, k) in cells for m in range(5)) == 5]
        k = r.choice(free)
        line = [16 * k + 4, 0, 16 * k + 11, 80] if not across else [0, 16 * k + 4, 80, 16 * k + 11]
        draw.rectangle(line, fill=(175, 175, 175))
        middle = [16 * k + 7, 0, 16 * k + 8, 80] if not across else [0, 16 * k + 7, 80, 16 * k + 8]
        draw.rectangle(middle, fill=(250, 250, 250))
        cells -= {(k, m) if not across else (m, k) for m in range(5)}
    places = r.sample(sorted(cells), buildings + trees)
    for i, j in places[:buildings]:
        x, y = 16 * i + r.randint(0, 2), 16 * j + r.randint(0, 2)
        draw.rectangle([x, y, x + 12, y + 12], fill=(190, 60, 45))
        draw.rectangle([x, y + 6, x + 12, y + 7], fill=(240, 150, 120))
    for i, j in places[buildings:]:
        x, y = 16 * i + r.randint(0, 2), 16 * j + r.randint(0, 2)
        draw.ellipse([x, y, x + 12, y + 12], fill=(15, 70, 25))
    frame = grain(frame, r, 3)
    pick = r.choice
    return Scene([frame], {
        "buildings": buildings, "trees": trees, "road": road, "lake": lake, "more": int(buildings > trees),
    }, [
        Asked("road", pick(["Is a road present?", "Is there a road in the image?"]), yes(road), "presence"),
        Asked("water", pick(["Is a water area present?", "Is there a lake in the image?"]), yes(lake), "presence"),
        Asked("buildings", pick(["What is the number of buildings?", "How many buildings are there?"]),
              str(buildings), "count"),
        Asked("trees", pick(["What is the number of trees?", "How many trees are there?"]), str(trees), "count"),
        Asked("more", "Are there more buildings than trees?", yes(buildings > trees), "comp"),
        Asked("area", pick(["What is the area covered by water?", "How large is the lake?"]), AREAS[lake], "area"),
    ])


# Everyday pictures ------------------------------------------------------------------------------

THINGS = ["house", "tree", "car", "cup", "boat"]
BALLS = ["red", "blue", "yellow", "green", "white", "purple"]


def thing(draw: ImageDraw.ImageDraw, kind: int, x: int, r: random.Random) -> None:
    """One large thing that stands round `x`."""
    if kind == 0:
        draw.rectangle([x - 17, 26, x + 17, 50], fill=near((205, 165, 125), 10, r))
        draw.polygon([(x - 21, 26), (x, 8), (x + 21, 26)], fill=near((130, 60, 45), 10, r))
        draw.rectangle([x - 4, 36, x + 4, 50], fill=(80, 50, 30))
    elif kind == 1:
        draw.rectangle([x - 4, 32, x + 4, 52], fill=(100, 65, 35))
        draw.ellipse([x - 18, 4, x + 18, 38], fill=near((30, 105, 45), 10, r))
    elif kind == 2:
        body = near((90, 140, 150), 20, r)
        draw.rectangle([x - 22, 34, x + 22, 46], fill=body)
        draw.rectangle([x - 12, 24, x + 12, 34], fill=body)
        draw.rectangle([x - 9, 26, x + 9, 33], fill=(215, 230, 240))
        for wheel in (x - 13, x + 13):
            draw.ellipse([wheel - 6, 41, wheel + 6, 53], fill=(15, 15, 15))
    elif kind == 3:
        body = near((235, 225, 205), 8, r)
        draw.ellipse([x + 6, 22, x + 22, 42], outline=body, width=4)
        draw.rectangle([x - 14, 16, x + 13, 50], fill=body)
        draw.ellipse([x - 14, 12, x + 13, 20], fill=(90, 50, 25))
    else:
        draw.polygon([(x - 22, 40), (x + 22, 40), (x + 13, 52), (x - 13, 52)], fill=near((120, 75, 40), 10, r))
        draw.rectangle([x - 1, 6, x + 1, 40], fill=(60, 40, 30))
        draw.polygon([(x + 3, 8), (x + 20, 35), (x + 3, 35)], fill=(250, 245, 235))


def everyday(r: random.Random) -> Scene:
    """Indoors or outdoors, a large thing on one side, balls of one colour on the other."""
    colour, count, kind = r.randrange(6), r.randrange(1, 5), r.randrange(5)
    right, inside = r.randrange(2), r.randrange(2)
    frame = Image.new("RGB", (128, 64), near((185, 160, 175) if inside else (140, 190, 235), 8, r))
    draw = ImageDraw.Draw(frame)
    floor = r.randint(42, 46)
    draw.rectangle([0, floor, 128, 64], fill=near((150, 105, 70) if inside else (105, 175, 80), 8, r))
    if inside:
        for x in range(8, 128, 16):
            draw.line([x, 0, x, floor], fill=(170, 145, 160), width=2)
    else:
        draw.ellipse([58, 3, 70, 15], fill=(255, 245, 150))
    middle = r.randint(24, 36)
    thing(draw, kind, 127 - middle if right else middle, r)
    start = 0 if right else 64
    columns = sorted(r.sample(range(4), count))
    for column in columns:
        x, y = start + 8 + 16 * column + r.randint(-1, 1), r.choice([22, 38, 54]) + r.randint(-2, 2)
        shape(draw, "circle", x, y, 7, (30, 30, 30))
        shape(draw, "circle", x, y, 6.2, COLOURS[BALLS[colour]])
    frame = grain(frame, r, 3)
    is_right = r.random() < 0.5
    named = THINGS[kind] if is_right else r.choice([t for t in THINGS if t != THINGS[kind]])
    article = "a"
    pick = r.choice
    return Scene([frame], {
        "colour": colour, "count": count - 1, "thing": kind, "right": right, "inside": inside,
    }, [
        Asked("color", pick(["What color are the balls?", "What is the color of the balls?"]), BALLS[colour], "other"),
        Asked("count", pick(["How many balls are there?", "How many balls are in the picture?"]), str(count), "number"),
        Asked("thing", f"What stands beside the {pick(['ball', 'balls'])}?", THINGS[kind], "other"),
        Asked("presence", f"Is there {article} {named} in the picture?", yes(is_right), "yes/no"),
        Asked("side", pick(["On which side are the balls?", "Are the balls on the left or on the right?"]),
              "left" if right else "right", "other"),
        Asked("inside", pick(["Is this inside a room?", "Was the picture taken indoors?"]), yes(inside), "yes/no"),
    ])


# Documents --------------------------------------------------------------------------------------

TITLES = ["BILL", "MEMO", "NOTE", "FORM", "LIST", "PLAN", "TEST", "CARD"]
MONTHS = ["JAN", "FEB", "MAR", "JUN", "AUG", "DEC"]
NAMES = ["ANN", "BOB", "EVA", "MAX", "TOM", "ZOE"]
LOGOS = ["circle", "square", "triangle", "cross"]


def document(r: random.Random) -> Scene:
    """A narrow page: title, logo, stamp or none, month, a number, a name."""
    title, month, name, logo, stamp = (r.randrange(n) for n in (8, 6, 6, 4, 2))
    tens, ones = r.randrange(1, 10), r.randrange(10)
    paper = near((240, 238, 228), 10, r)
    ink = near(r.choice([(15, 15, 20), (20, 30, 90), (60, 30, 20)]), 6, r)
    frame = Image.new("RGB", (56, 112), paper)
    draw = ImageDraw.Draw(frame)
    draw.rectangle([0, 0, 55, 111], outline=near((150, 150, 150), 20, r))

    def line(y: int, text: str, scale: int) -> None:
        x = 28 - text_width(text, scale) // 2 + r.randint(-1, 1)
        write(draw, x, y + r.randint(-1, 1), text, scale, ink)

    line(5, TITLES[title], 2)
    draw.line([6, 22, 50, 22], fill=(170, 170, 170))
    shape(draw, LOGOS[logo], 15, 32, 7, (40, 110, 160))
    if stamp:
        draw.ellipse([32, 25, 48, 41], outline=(210, 30, 40), width=3)
        draw.rectangle([36, 31, 44, 34], fill=(210, 30, 40))
    line(45, MONTHS[month], 2)
    line(64, f"{tens}{ones}", 3)
    draw.line([6, 89, 50, 89], fill=(170, 170, 170))
    line(93, NAMES[name], 2)
    frame = grain(frame, r, 2)
    pick = r.choice
    return Scene([frame], {
        "title": title, "month": month, "name": name, "logo": logo, "stamp": stamp, "tens": tens - 1, "ones": ones,
    }, [
        Asked("title", pick(["What is the title of the page?", "What word is at the top of the page?"]),
              TITLES[title].lower()),
        Asked("month", pick(["Which month is on the page?", "What is the month of the date?"]), MONTHS[month].lower()),
        Asked("name", pick(["Who signed the page?", "What name is at the bottom of the page?"]), NAMES[name].lower()),
        Asked("total", pick(["What is the total?", "What number is on the page?"]), f"{tens}{ones}"),
        Asked("logo", pick(["What shape is the logo?", "What is the shape of the logo?"]), LOGOS[logo]),
        Asked("stamp", pick(["Is there a stamp on the page?", "Does the page have a stamp?"]), yes(stamp)),
    ])


DOMAINS = {"ad": driving, "med": medical, "rs": aerial, "com": everyday, "doc": document}
# How many classes each fact of a domain has.
FACTS = {
    "ad": {"light": 3, "car": 5, "side": 3, "closer": 2, "night": 2, "cones": 4},
    "med": {"scan": 4, "count": 4, "look": 4, "quarter": 4},
    "rs": {"buildings": 5, "trees": 4, "road": 2, "lake": 4, "more": 2},
    "com": {"colour": 6, "count": 4, "thing": 5, "right": 2, "inside": 2},
    "doc": {"title": 8, "month": 6, "name": 6, "logo": 4, "stamp": 2, "tens": 9, "ones": 10},
}
