// The waveform. The browser decodes the audio in its sandbox, so the server never opens a clip.

const SAMPLE_RATE_HZ = 16_000;
const BIN_US = 5_000;

/** Peak level of every 5 ms, 0..1; null for a clip without audio. */
export async function waveform(address) {
  const bytes = await (await fetch(address)).arrayBuffer();
  try {
    const sound = await new OfflineAudioContext(1, 1, SAMPLE_RATE_HZ).decodeAudioData(bytes);
    return levels(sound.getChannelData(0));
  } catch (error) {
    if (error.name === "EncodingError") return null;
    throw error;
  }
}

function levels(samples) {
  const size = (SAMPLE_RATE_HZ * BIN_US) / 1e6;
  const found = new Float32Array(Math.ceil(samples.length / size));
  for (let i = 0; i < samples.length; i += 1) {
    const bin = Math.floor(i / size);
    found[bin] = Math.max(found[bin], Math.abs(samples[i]));
  }
  return { bin_us: BIN_US, levels: found };
}
