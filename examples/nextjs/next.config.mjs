/** @type {import('next').NextConfig} */
export default {
  poweredByHeader: false,
  // bff compresses no answers of an upstream, and no CDN is before this one: so Next does.
  compress: true,
}
