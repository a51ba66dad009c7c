/** The first bytes of images, as far as they say how large those are. */

/** As a part of a content. */
export const inline = (bytes: Buffer) => ({
  inlineData: { mimeType: 'image/png', data: bytes.toString('base64') },
});

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const u32 = (value: number): Buffer => Buffer.concat([u16(value >>> 16), u16(value & 0xffff)]);
const little = (value: number, bytes: number): Buffer => {
  const made = Buffer.alloc(bytes);
  made.writeUIntLE(value, 0, bytes);
  return made;
};

export const pngOf = (width: number, height: number): Buffer =>
  Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), u32(13), Buffer.from('IHDR'), u32(width), u32(height)]);

/** A frame of a JPEG; its length may be forged. */
export const frameOf = (width: number, height: number, length = 11): Buffer =>
  Buffer.concat([
    ...[Buffer.from([0xff, 0xc2]), u16(length), Buffer.from([8]), u16(height), u16(width)],
    Buffer.from([1, 1, 0x11, 0]),
  ]);

/** With a thumbnail of another size in what comes before its frame. */
export function jpegOf(width: number, height: number): Buffer {
  const thumbnail = Buffer.concat([Buffer.from([0xff, 0xd8]), frameOf(160, 120)]);
  return Buffer.concat([
    Buffer.from([0xff, 0xd8, 0xff, 0xe1]),
    ...[u16(thumbnail.length + 2), thumbnail, Buffer.from([0xff]), frameOf(width, height)],
    Buffer.from([0xff, 0xda]),
  ]);
}

export const webPOf =
  (chunk: 'VP8 ' | 'VP8L' | 'VP8X') =>
  (width: number, height: number): Buffer => {
    // Two of the three say one less than it is.
    const [w, h] = [width - 1, height - 1];
    const said = {
      'VP8 ': () => Buffer.concat([Buffer.from([0, 0, 0, 0x9d, 0x01, 0x2a]), little(width, 2), little(height, 2)]),
      VP8L: () => Buffer.concat([Buffer.from([0x2f]), little(w + h * 2 ** 14, 4)]),
      VP8X: () => Buffer.concat([Buffer.alloc(4), little(w, 3), little(h, 3)]),
    }[chunk];
    if (height === 0) return Buffer.from('RIFF\0\0\0\0WEBPVP8 ', 'latin1');
    const of = said();
    return Buffer.concat([Buffer.from(`RIFF\0\0\0\0WEBP${chunk}`, 'latin1'), little(of.length, 4), of]);
  };
