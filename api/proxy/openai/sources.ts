/**
 * What a request of OpenAI's shows to a model comes with the request. What its provider fetches by an address may be another thing by the
 * time of the call than when it was counted, and a file that it keeps may be of anybody who uses the same account.
 */
import { isRecord } from '../../../core/prices/usage';
import { lookInside, quoted, unbounded } from '../unbounded';

/** @throws ApiError by the name of what does not, however deep inside. */
export const checkSources = (value: unknown): void => lookInside(value, checkSource);

function checkSource({ file_id: id, file_url: url, image_url: image, file_data: data }: Record<string, unknown>): void {
  if (id != null) throw unbounded('A file that the provider keeps (file_id)');
  if (url != null) throw unbounded('A file by its address (file_url: send it as file_data)');
  const address = isRecord(image) ? image.url : image;
  if (address != null && !(typeof address === 'string' && /^data:/i.test(address)))
    throw unbounded(`An image by its address (image_url ${quoted(address)}: send it as data:)`);
  if (data != null && !(typeof data === 'string' && /^(data:|[\w+/=\s-]*$)/i.test(data)))
    throw unbounded('A file_data that is neither base64 nor data:');
}
