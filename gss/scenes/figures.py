"""Painting trees, cars, lamps and people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gss.scenes.canvas import CAR, NEAR, PERSON, POLE, TREE, Canvas, centers, planes
from gss.scenes.light import Light, fractal, rgb, speckle
from gss.scenes.things import Car, Lamp, Person, Thing, Tree


def paint_things(canvas: Canvas, things: Sequence[Thing], light: Light) -> None:
    """All things from far to near."""
    painters: dict[type, Any] = {Tree: _paint_tree, Car: _paint_car, Lamp: _paint_lamp, Person: _paint_person}
    for thing in sorted(things, key=lambda t: -t.z):
        if thing.z >= NEAR + 1:
            painters[type(thing)](canvas, thing, light)


def _paint_tree(canvas: Canvas, tree: Tree, light: Light) -> None:
    """A trunk, and a crown of five blobs with a leafy edge, brighter towards the sun."""
    camera, x, z = canvas.camera, tree.x, tree.z
    scale = camera.focal / z
    crown_y = tree.height - tree.radius
    bark = light.tone(rgb(0.30, 0.23, 0.17), (0, 0.2, -0.9), z)
    canvas.upright(z, (x - 0.17, x + 0.17, 0.0), (x - 0.1, x + 0.1, crown_y), bark, TREE)
    column0, row0 = camera.project((x, crown_y, z))
    reach = tree.radius * 1.3 * scale
    window = canvas.window(column0 - reach, row0 - reach, column0 + reach, row0 + reach)
    if window is None:
        return
    row, column = centers(window)
    u, v = (column - column0) / (tree.radius * scale), (row - row0) / (tree.radius * scale)
    field_ = np.full((row.size, column.size), -9.0, np.float32)
    for blob_u, blob_v, radius in tree.blobs.tolist():
        np.maximum(field_, 1 - ((u - blob_u) ** 2 + (v - blob_v) ** 2) / radius**2, out=field_)
    metres_u, metres_v = u * tree.radius, v * tree.radius
    rough = fractal(metres_u * 26 + tree.seed, metres_v * 26 + tree.seed)
    inside = field_ + (rough - 0.5) * 1.1 > 0.08
    towards_sun = np.clip(0.5 + 0.5 * (u * light.sun[0] - v * light.sun[1]), 0, 1)
    leaf = speckle(metres_u * 9 + tree.seed, metres_v * 9)
    clumps = np.clip(0.55 + 0.9 * (rough - 0.4) + 0.3 * (leaf - 0.5), 0.2, 1.3)
    lit = planes(light.ambient * 0.7) + planes(light.sun_color * 0.9) * towards_sun
    canvas.put(window, inside, light.through_air(planes(tree.leaf) * lit * clumps, z), TREE)


def _paint_car(canvas: Canvas, car: Car, light: Light) -> None:
    """Body and cabin are two boxes; their end, the side towards us and the top are visible."""
    half, length = car.footprint[0], car.length
    left, right, near, far = car.x - half, car.x + half, car.z, car.z + length
    side = 1 if car.x < 0 else -1  # the flank that faces the middle of the picture
    flank = car.x + side * half
    belt, floor, roof = car.height * 0.58, 0.28, car.height
    end, flat, up = (0.0, 0.25, -0.97), (float(side), 0.15, 0.0), (0.0, 1.0, 0.0)

    def tone(albedo: np.ndarray, normal: tuple[float, float, float]) -> np.ndarray:
        return light.tone(albedo, normal, near)

    rubber, dark = rgb(0.06, 0.06, 0.07), rgb(0.10, 0.10, 0.11)
    glass = light.horizon * 0.22 + light.zenith * 0.18
    canvas.upright(near, (left + 0.1, right - 0.1, 0.12), (left + 0.1, right - 0.1, 0.4), tone(dark, end), CAR)
    for x in (left + 0.05, right - 0.3):
        canvas.upright(near + 0.3, (x, x + 0.25, 0.0), (x, x + 0.25, 0.5), tone(rubber, end), CAR)
    canvas.solid([(flank, floor, near), (flank, floor, far), (flank, belt, far), (flank, belt, near)],
                 tone(car.paint * 0.92, flat), CAR)  # fmt: skip
    fine = canvas.camera.focal / near > 12  # samples a metre; smaller parts vanish beyond
    discs = ((0.33, rubber), (0.19, rgb(0.55, 0.56, 0.58))) if fine else ((0.33, rubber),)
    for center in (near + length * 0.2, near + length * 0.8):
        turn = np.linspace(0, 2 * np.pi, 11)[:-1]
        for radius, color in discs:
            rim = [(flank, 0.33 + radius * float(np.sin(a)), center + radius * float(np.cos(a))) for a in turn]
            canvas.solid(rim, tone(color, flat), CAR)
    canvas.solid([(left, belt, near), (right, belt, near), (right, belt, far), (left, belt, far)],
                 tone(car.paint, up), CAR)  # fmt: skip

    # The cabin leans in on all sides; an oncoming car shows its bonnet first.
    front, back = (1.2, 0.25) if car.oncoming else (0.35, 1.1)
    near_low, near_high, far_high = near + front, near + front + 0.55, far - back - 0.5
    inset = 0.16
    base = [(left + 0.05, belt, near_low), (right - 0.05, belt, near_low)]
    top = [(right - inset, roof, near_high), (left + inset, roof, near_high)]
    high = car.x + side * (half - inset)
    low = car.x + side * (half - 0.05)
    canvas.solid([(low, belt, near_low), (low, belt, far - back), (high, roof, far_high), (high, roof, near_high)],
                 tone(car.paint * 0.85, flat), CAR)  # fmt: skip
    pane_low, pane_high = belt + 0.05, roof - 0.09
    for z0, z1 in ((0.12, 0.48), (0.53, 0.88)) if fine else ((0.12, 0.88),):
        span = far_high - near_high
        canvas.solid([(low, pane_low, near_low + 0.25 + z0 * span), (low, pane_low, near_low + 0.45 + z1 * span),
                      (high, pane_high, near_high + z1 * span), (high, pane_high, near_high + z0 * span)],
                     glass, CAR)  # fmt: skip
    canvas.solid(base + top, tone(car.paint * 0.9, end), CAR)
    front_pane = [(left + 0.14, belt + 0.05, near_low), (right - 0.14, belt + 0.05, near_low)]
    front_pane += [(x, roof - 0.08, near_high - 0.06) for x in (right - inset - 0.08, left + inset + 0.08)]
    canvas.solid(front_pane, glass, CAR)
    canvas.solid([(left + inset, roof, near_high), (right - inset, roof, near_high), (right - inset, roof, far_high),
                  (left + inset, roof, far_high)], tone(car.paint * 1.05, up), CAR)  # fmt: skip
    _paint_car_end(canvas, car, light, belt, floor)


def _paint_car_end(canvas: Canvas, car: Car, light: Light, belt: float, floor: float) -> None:
    """The end towards us: panel, lights, plate and bumper."""
    half, z = car.footprint[0], car.z
    left, right = car.x - half, car.x + half
    end = (0.0, 0.25, -0.97)

    def panel(x0: float, x1: float, y0: float, y1: float, color: np.ndarray) -> None:
        canvas.upright(z, (x0, x1, y0), (x0, x1, y1), color, CAR)

    panel(left, right, floor, belt, light.tone(car.paint, end, z))
    lamp = rgb(0.98, 0.95, 0.82) if car.oncoming else rgb(0.85, 0.08, 0.06)
    lamp = lamp * (0.6 + 0.4 * light.ambient)
    for x in (left + 0.08, right - 0.42):
        panel(x, x + 0.34, belt - 0.28, belt - 0.1, lamp)
    if canvas.camera.focal / z <= 12:
        return
    panel(left, right, floor, floor + 0.16, light.tone(car.paint * 0.45, end, z))
    if car.oncoming:
        panel(car.x - 0.4, car.x + 0.4, belt - 0.3, belt - 0.12, light.tone(rgb(0.1, 0.1, 0.1), end, z))
    panel(car.x - 0.26, car.x + 0.26, floor + 0.18, floor + 0.3, light.tone(rgb(0.85, 0.84, 0.75), end, z))


def _paint_lamp(canvas: Canvas, lamp: Lamp, light: Light) -> None:
    """A street lamp: tapered mast, arm over the road, head that glows when it is dark."""
    x, z, top = lamp.x, lamp.z, lamp.height
    bright = light.tone(lamp.tint, (-np.sign(light.sun[0]) * 0.5, 0.1, -0.8), z)
    lit = light.tone(lamp.tint * 1.25, (float(np.sign(light.sun[0])), 0.1, 0.0), z)
    canvas.upright(z, (x - 0.15, x + 0.15, 0), (x - 0.1, x + 0.1, top), bright, POLE)
    edge = float(np.sign(light.sun[0]))
    canvas.upright(z, (x + edge * 0.04, x + edge * 0.15, 0), (x + edge * 0.03, x + edge * 0.1, top), lit, POLE)
    canvas.upright(z, (x - 0.22, x + 0.22, 0), (x - 0.22, x + 0.22, 0.5), bright * 0.85, POLE)
    tip = x + lamp.arm
    canvas.solid([(x, top - 0.22, z), (x, top, z), (tip, top + 0.28, z), (tip, top + 0.1, z)], bright, POLE)
    glow = rgb(1.0, 0.86, 0.55) if light.lit_windows > 0.3 else bright * 1.5
    canvas.upright(z, (tip - 0.35, tip + 0.35, top + 0.02), (tip - 0.28, tip + 0.28, top + 0.3), bright, POLE)
    canvas.upright(z, (tip - 0.33, tip + 0.33, top - 0.06), (tip - 0.33, tip + 0.33, top + 0.06), glow, POLE)


def _paint_person(canvas: Canvas, person: Person, light: Light) -> None:
    """Legs in step, coat, arms, head and hair; the half towards the sun is brighter."""
    x, z, tall = person.x, person.z, person.height
    camera = canvas.camera
    toward = float(np.sign(light.sun[0]))

    def quad(x0: float, x1: float, y0: float, x2: float, x3: float, y1: float, albedo: np.ndarray, lit: bool) -> None:
        normal = (toward * 0.8, 0.2, -0.5) if lit else (0.0, 0.2, -0.8)
        bottom, top = (x + x0, x + x1, y0 * tall), (x + x2, x + x3, y1 * tall)
        canvas.upright(z, bottom, top, light.tone(albedo, normal, z), PERSON)

    step = person.stride
    shoe = rgb(0.10, 0.09, 0.09)
    for foot in (-step - 0.02, step + 0.02):
        quad(foot - 0.09, foot + 0.09, 0.03, foot * 0.3 - 0.11, foot * 0.3 + 0.11, 0.50, person.trousers, False)
        quad(foot - 0.1, foot + 0.13, 0.0, foot - 0.09, foot + 0.1, 0.05, shoe, False)
    quad(-0.19, 0.19, 0.46, -0.24, 0.24, 0.82, person.shirt * 0.85, False)
    quad(0.0, toward * 0.19, 0.46, 0.0, toward * 0.24, 0.82, person.shirt, True)
    for arm in (-1, 1):
        low, high = arm * 0.24, arm * 0.25
        quad(low - 0.06, low + 0.06, 0.45, high - 0.07, high + 0.07, 0.81, person.shirt * 0.75, False)
    quad(-0.06, 0.06, 0.80, -0.06, 0.06, 0.88, person.skin * 0.8, False)
    scale = camera.focal / z
    column, row = camera.project((x, tall * 0.925, z))
    normal = (toward * 0.6, 0.3, -0.7)
    hair, skin = light.tone(person.hair, normal, z), light.tone(person.skin, normal, z)
    canvas.ellipse(column, row - 0.02 * scale, (0.135 * scale, 0.155 * scale), hair, PERSON)
    canvas.ellipse(column, row + 0.035 * scale, (0.105 * scale, 0.12 * scale), skin, PERSON)
