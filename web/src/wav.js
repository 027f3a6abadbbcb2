// WAV files: 24 bits, one channel.

const BYTES = 3, PIECE = 1 << 18; // samples at a time

/** Largest magnitude. */
export function peakOf(samples) {
  let peak = 0;
  for (const value of samples) peak = Math.max(peak, Math.abs(value));
  return peak;
}

function header(n, sampleRate) {
  const view = new DataView(new ArrayBuffer(44)), size = n * BYTES;
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + size + (size % 2), true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sampleRate, true); view.setUint32(28, sampleRate * BYTES, true); view.setUint16(32, BYTES, true); view.setUint16(34, 8 * BYTES, true);
  text(36, "data"); view.setUint32(40, size, true);
  return view;
}

/** A Blob of samples; what peaks above full scale is turned down as a whole, never clipped. */
export function wavOf(samples, sampleRate) {
  const gain = 1 / Math.max(peakOf(samples), 1), parts = [header(samples.length, sampleRate)];
  for (let first = 0; first < samples.length; first += PIECE) {
    const piece = samples.subarray(first, first + PIECE), bytes = new Uint8Array(piece.length * BYTES);
    piece.forEach((value, i) => {
      const whole = Math.round(value * gain * 8388607);
      bytes[BYTES * i] = whole; bytes[BYTES * i + 1] = whole >> 8; bytes[BYTES * i + 2] = whole >> 16;
    });
    parts.push(bytes);
  }
  if ((samples.length * BYTES) % 2) parts.push(new Uint8Array(1));
  return new Blob(parts, { type: "audio/wav" });
}
