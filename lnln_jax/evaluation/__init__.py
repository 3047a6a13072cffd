"""PSNR and SSIM on test sets, by the protocol of published tables, and reports of them."""
