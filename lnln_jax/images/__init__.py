"""Images as arrays and as files: bicubic resizing, PSNR and SSIM, reading and writing."""
