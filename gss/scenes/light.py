"""Time of day, haze, and the noise of the textures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

from gss.scenes.canvas import planes

Color = np.ndarray


@dataclass(frozen=True)
class Light:
    """Sun and sky of one scene; colours are float32 (3,). `sun` is the unit vector towards the sun."""

    sun: np.ndarray
    sun_color: Color
    ambient: Color
    zenith: Color
    horizon: Color
    haze_length: float
    cloud_cover: float
    lit_windows: float

    def shade(
        self, albedo: np.ndarray, normal: tuple[float, float, float], shadow: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Lambert's law under sun and sky, (3, h, w); `shadow` (h, w) in 0..1 takes the sun away."""
        facing = max(float(np.dot(self.sun, normal)), 0.0)
        sky = self.ambient * np.float32(0.75 + 0.25 * normal[1])
        sun = self.sun_color * np.float32(facing)
        return albedo * (planes(sky + sun) - planes(sun) * shadow)

    def tone(self, albedo: Color, normal: tuple[float, float, float], z: float) -> Color:
        """A flat surface at distance z, shaded and hazed: float32 (3,)."""
        facing = max(sum(float(s) * n for s, n in zip(self.sun, normal, strict=True)), 0.0)
        shaded = albedo * (self.ambient * (0.75 + 0.25 * normal[1]) + self.sun_color * facing)
        return (self.horizon + (shaded - self.horizon) * math.exp(-z / self.haze_length)).astype(np.float32)

    def through_air(self, color: np.ndarray, z: np.ndarray | float) -> np.ndarray:
        """Fades a (3, h, w) area towards the horizon's colour with distance z, a number or (h, w)."""
        clear = np.exp(np.asarray(z, np.float32) * np.float32(-1 / self.haze_length))
        return color * clear + planes(self.horizon) * (1 - clear)


def rgb(red: float, green: float, blue: float) -> Color:
    """A float32 colour from channels 0..1."""
    return np.array((red, green, blue), np.float32)


def random_light(rng: np.random.Generator) -> Light:
    """Day, low sun, overcast or dusk."""
    kind = rng.choice(4, p=(0.42, 0.2, 0.23, 0.15))
    elevation = np.radians((rng.uniform(30, 60), rng.uniform(14, 26), rng.uniform(45, 70), 12.0)[kind])
    azimuth = rng.choice((-1, 1)) * np.radians(rng.uniform(25, 140))
    sun = np.array(
        (np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)), np.float32
    )
    strength = float(rng.uniform(0.9, 1.1))
    sun_color, ambient, zenith, horizon = (
        (rgb(0.78, 0.74, 0.66), rgb(0.50, 0.54, 0.62), rgb(0.24, 0.46, 0.80), rgb(0.72, 0.82, 0.91)),
        (rgb(1.00, 0.70, 0.42), rgb(0.42, 0.42, 0.52), rgb(0.34, 0.46, 0.70), rgb(0.95, 0.78, 0.58)),
        (rgb(0.10, 0.10, 0.10), rgb(0.74, 0.76, 0.79), rgb(0.62, 0.66, 0.71), rgb(0.80, 0.82, 0.84)),
        (rgb(0.10, 0.06, 0.05), rgb(0.33, 0.35, 0.48), rgb(0.13, 0.17, 0.36), rgb(0.72, 0.47, 0.42)),
    )[kind]
    return Light(
        sun=sun,
        sun_color=sun_color * strength,
        ambient=ambient * strength,
        zenith=zenith * rng.uniform(0.9, 1.1, 3).astype(np.float32),
        horizon=horizon,
        haze_length=float(rng.uniform(*((180, 500), (110, 260), (70, 220), (150, 300))[kind])),
        cloud_cover=float(rng.uniform(*((0.1, 0.6), (0.2, 0.7), (0.7, 1.0), (0.2, 0.6))[kind])),
        lit_windows=float((0.0, 0.08, 0.12, 0.55)[kind]),
    )


@cache
def _texture() -> np.ndarray:
    """A tileable 512 x 512 fractal in 0..1, always the same: random phases under a falling spectrum."""
    side = 512
    white = np.random.default_rng(7).standard_normal((side, side))
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]) * side
    spectrum = np.fft.rfft2(white) / np.maximum(frequency, 3.0) ** 1.35
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (side, side))
    return np.clip(0.5 + field / (4.5 * field.std()), 0, 1).astype(np.float32)


@cache
def _speckle() -> np.ndarray:
    """Uncorrelated 256 x 256 noise in 0..1, for grain and for per-cell randomness."""
    return np.random.default_rng(11).random((256, 256), dtype=np.float32)


def fraction(x: np.ndarray) -> np.ndarray:
    """x modulo 1; numpy's own remainder is several times slower."""
    return x - np.floor(x)


def fractal(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Smooth fractal noise in 0..1, one period every 512 units, sampled at the broadcast of u and v."""
    return _texture()[np.floor(v).astype(np.int32) & 511, np.floor(u).astype(np.int32) & 511]


def smooth_fractal(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """`fractal` with bilinear interpolation, for magnified textures such as clouds."""
    u0, v0 = np.floor(u), np.floor(v)
    fu, fv = u - u0, v - v0
    top = fractal(u0, v0) * (1 - fu) + fractal(u0 + 1, v0) * fu
    return top * (1 - fv) + (fractal(u0, v0 + 1) * (1 - fu) + fractal(u0 + 1, v0 + 1) * fu) * fv


def speckle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A random number in 0..1 for every integer cell of (u, v)."""
    return _speckle()[np.floor(v).astype(np.int32) & 255, np.floor(u).astype(np.int32) & 255]


def value_noise(v: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Noise of about one unit's wavelength, in 0..1."""
    return smooth_fractal(u * 12, v * 12)
